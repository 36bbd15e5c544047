"""Campaigns in the database."""

from __future__ import annotations

from collections.abc import Iterable

import asyncpg
import msgspec

from ...domain.campaign import Campaign, CampaignState, Channel, RetryPolicy, SendWindow, Template, Undefined
from ..pool import Connection, Pool
from ..sql import load

__all__ = ["all_campaigns", "apply_campaigns", "find_campaign", "list_campaigns"]

_SQL = load("admin/campaigns.sql")
_templates = msgspec.json.Decoder(dict[str, Template])
_retry = msgspec.json.Decoder(RetryPolicy | None)
_window = msgspec.json.Decoder(SendWindow | None)


def _campaign(row: asyncpg.Record) -> Campaign:
    return Campaign(
        project_id=row["project_id"],
        id=row["id"],
        name=row["name"],
        channel=Channel(row["channel"]),
        providers=tuple(row["providers"]),
        state=CampaignState(row["state"]),
        sender=row["sender"],
        templates=_templates.decode(row["templates"]),
        retry=_retry.decode(row["retry"]),
        window=_window.decode(row["send_window"]),
        unsubscribe_url=row["unsubscribe_url"],
        undefined=Undefined(row["undefined"]),
        revision=row["revision"],
    )


async def all_campaigns(connection: Connection, *, templates: bool) -> list[Campaign]:
    """Return all campaigns of all projects, with or without their templates."""
    statement = _SQL["all" if templates else "all_without_templates"]
    return [_campaign(row) for row in await connection.fetch(*statement())]


async def find_campaign(pool: Pool, project_id: int, campaign_id: int) -> Campaign | None:
    """Return one campaign of a project."""
    row = await pool.fetchrow(*_SQL["find"](project_id=project_id, id=campaign_id))
    return _campaign(row) if row else None


async def list_campaigns(
    pool: Pool, project_id: int | None = None, *, after: int = 0, limit: int = 1000
) -> list[Campaign]:
    """Return up to `limit` campaigns with ids above `after`, by id; of one project or of all."""
    rows = await pool.fetch(*_SQL["list"](project_id=project_id, after=after, limit=limit))
    return [_campaign(row) for row in rows]


async def apply_campaigns(pool: Pool, campaigns: Iterable[Campaign]) -> dict[int, str]:
    """Create or change campaigns in one transaction; return `created`, `changed` or `unchanged` by id."""
    results: dict[int, str] = {}
    async with pool.acquire() as connection, connection.transaction():
        for campaign in campaigns:
            revision = await connection.fetchval(*_SQL["apply"](**_values(campaign)))
            results[campaign.id] = {None: "unchanged", 1: "created"}.get(revision, "changed")
    return results


def _values(campaign: Campaign) -> dict[str, object]:
    return {
        "project_id": campaign.project_id,
        "id": campaign.id,
        "name": campaign.name,
        "channel": campaign.channel.value,
        "provider": campaign.providers[0],
        "providers": campaign.providers,
        "state": campaign.state.value,
        "sender": campaign.sender,
        "templates": msgspec.json.encode(campaign.templates, order="sorted").decode(),
        "retry": msgspec.json.encode(campaign.retry).decode(),
        "send_window": msgspec.json.encode(campaign.window).decode(),
        "unsubscribe_url": campaign.unsubscribe_url,
        "undefined": campaign.undefined.value,
    }
