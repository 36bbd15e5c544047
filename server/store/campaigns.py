"""Campaigns in the database."""

from __future__ import annotations

from collections.abc import Iterable

import asyncpg
import msgspec

from ..domain.campaign import Campaign, CampaignState, Channel, RetryPolicy, Template
from .pool import Connection, Pool

__all__ = ["all_campaigns", "apply_campaigns", "find_campaign", "list_campaigns"]

_COLUMNS = "project_id, id, name, channel, provider, state, sender, templates, retry, revision"
_LEAN_COLUMNS = _COLUMNS.replace("templates", "'{}' AS templates")
_templates = msgspec.json.Decoder(dict[str, Template])
_retry = msgspec.json.Decoder(RetryPolicy)

_UPSERT = f"""
    INSERT INTO campaign ({_COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 1)
    ON CONFLICT (project_id, id) DO UPDATE SET
        name = excluded.name, channel = excluded.channel, provider = excluded.provider,
        state = excluded.state, sender = excluded.sender, templates = excluded.templates,
        retry = excluded.retry, revision = campaign.revision + 1
    WHERE (campaign.name, campaign.channel, campaign.provider, campaign.state, campaign.sender,
           campaign.templates, campaign.retry)
        IS DISTINCT FROM (excluded.name, excluded.channel, excluded.provider, excluded.state,
           excluded.sender, excluded.templates, excluded.retry)
    RETURNING revision
"""  # noqa: S608 - constants only


def _campaign(row: asyncpg.Record) -> Campaign:
    return Campaign(
        project_id=row["project_id"],
        id=row["id"],
        name=row["name"],
        channel=Channel(row["channel"]),
        provider=row["provider"],
        state=CampaignState(row["state"]),
        sender=row["sender"],
        templates=_templates.decode(row["templates"]),
        retry=_retry.decode(row["retry"]),
        revision=row["revision"],
    )


async def all_campaigns(connection: Connection, *, templates: bool) -> list[Campaign]:
    """Return all campaigns of all projects; without templates where they are not needed."""
    columns = _COLUMNS if templates else _LEAN_COLUMNS
    return [_campaign(row) for row in await connection.fetch(f"SELECT {columns} FROM campaign")]  # noqa: S608 - constants only


async def find_campaign(pool: Pool, project_id: int, campaign_id: int) -> Campaign | None:
    """Return one campaign of a project."""
    row = await pool.fetchrow(
        f"SELECT {_COLUMNS} FROM campaign WHERE project_id = $1 AND id = $2",  # noqa: S608 - constants only
        project_id,
        campaign_id,
    )
    return _campaign(row) if row else None


async def list_campaigns(
    pool: Pool, project_id: int | None = None, *, after: int = 0, limit: int = 1000
) -> list[Campaign]:
    """Return up to `limit` campaigns with ids above `after`, by id; of one project or of all."""
    rows = await pool.fetch(
        f"SELECT {_COLUMNS} FROM campaign"  # noqa: S608 - constants only
        " WHERE ($1::int8 IS NULL OR project_id = $1) AND id > $2 ORDER BY id, project_id LIMIT $3",
        project_id,
        after,
        limit,
    )
    return [_campaign(row) for row in rows]


async def apply_campaigns(pool: Pool, campaigns: Iterable[Campaign]) -> dict[int, str]:
    """Write campaigns in one transaction; return for each id `created`, `changed` or `unchanged`."""
    results: dict[int, str] = {}
    async with pool.acquire() as connection, connection.transaction():
        for campaign in campaigns:
            revision = await connection.fetchval(_UPSERT, *_row(campaign))
            results[campaign.id] = {None: "unchanged", 1: "created"}.get(revision, "changed")
    return results


def _row(campaign: Campaign) -> tuple[object, ...]:
    return (
        campaign.project_id,
        campaign.id,
        campaign.name,
        campaign.channel.value,
        campaign.provider,
        campaign.state.value,
        campaign.sender,
        msgspec.json.encode(campaign.templates, order="sorted").decode(),
        msgspec.json.encode(campaign.retry).decode(),
    )
