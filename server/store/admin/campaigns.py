"""Campaigns in the database."""

from __future__ import annotations

from collections.abc import Iterable

import asyncpg
import msgspec

from ...domain.campaign import Campaign, CampaignState, Channel, RetryPolicy, SendWindow, Template, Undefined
from ..pool import Connection, Pool

__all__ = ["all_campaigns", "apply_campaigns", "find_campaign", "list_campaigns"]

_COLUMNS = (
    "project_id, id, name, channel, provider, providers, state, sender, templates, retry, send_window,"
    " unsubscribe_url, undefined, revision"
)
_LEAN_COLUMNS = _COLUMNS.replace("templates", "'{}' AS templates")
_CHANGING = _COLUMNS.split(", ")[2:-1]
_templates = msgspec.json.Decoder(dict[str, Template])
_retry = msgspec.json.Decoder(RetryPolicy | None)
_window = msgspec.json.Decoder(SendWindow | None)

_UPSERT = f"""
    INSERT INTO campaign ({_COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, 1)
    ON CONFLICT (project_id, id) DO UPDATE SET revision = campaign.revision + 1,
        {", ".join(f"{name} = excluded.{name}" for name in _CHANGING)}
    WHERE ({", ".join(f"campaign.{name}" for name in _CHANGING)})
        IS DISTINCT FROM ({", ".join(f"excluded.{name}" for name in _CHANGING)})
    RETURNING revision
"""  # noqa: S608 - constants only


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
        campaign.providers[0],
        campaign.providers,
        campaign.state.value,
        campaign.sender,
        msgspec.json.encode(campaign.templates, order="sorted").decode(),
        msgspec.json.encode(campaign.retry).decode(),
        msgspec.json.encode(campaign.window).decode(),
        campaign.unsubscribe_url,
        campaign.undefined.value,
    )
