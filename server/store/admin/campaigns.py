"""Campaigns in the database."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import asyncpg

from ...domain.campaign import (
    Campaign,
    CampaignState,
    CampaignVersion,
    Channel,
)
from ..campaign_rows import campaign_of_row, content_of_json, row_values
from ..pool import Connection, Pool
from ..sql import load

__all__ = [
    "all_campaigns",
    "apply_campaign",
    "apply_campaigns",
    "find_campaign",
    "find_version",
    "list_campaigns",
    "list_page",
    "list_versions",
    "release",
    "set_state",
]

_SQL = load("admin/campaigns.sql")
_READ_AT_ONCE = 250  # rows


async def all_campaigns(connection: Connection, *, templates: bool) -> list[Campaign]:
    """Return all campaigns of all projects, with or without their templates.

    They are read in parts, because decoding 10,000 at once would stop the event loop for 100 ms.

    Args:
        connection: The database, in a transaction.
        templates: Whether to read the templates.
    """
    statement = _SQL["all" if templates else "all_without_templates"]
    return [campaign_of_row(row) async for row in connection.cursor(*statement(), prefetch=_READ_AT_ONCE)]


async def find_campaign(
    database: Pool | Connection, project_id: int, campaign_id: int, *, lock: bool = False
) -> Campaign | None:
    """Return one campaign of a project.

    Args:
        database: The database.
        project_id: The project.
        campaign_id: The campaign.
        lock: Whether to lock the row until the end of the transaction.
    """
    statement = _SQL["lock" if lock else "find"](project_id=project_id, id=campaign_id)
    row = await database.fetchrow(*statement)
    return campaign_of_row(row) if row else None


async def list_campaigns(
    pool: Pool, project_id: int | None = None, *, after: int = 0, limit: int = 1000
) -> list[Campaign]:
    """Return up to `limit` campaigns with ids above `after`, by id; of one project or of all."""
    rows = await pool.fetch(*_SQL["list"](project_id=project_id, after=after, limit=limit))
    return [campaign_of_row(row) for row in rows]


async def list_page(
    pool: Pool,
    projects: Collection[int] | None,
    *,
    state: str | None,
    campaign_id: int | None,
    channel: Channel | None,
    name: str | None,
    after: tuple[int, int],
    limit: int,
) -> list[Campaign]:
    """Return campaigns without templates, by project and ID.

    Args:
        pool: The database.
        projects: Only campaigns of these projects.
        state: `active`, `paused` or `archived`; None for all that are not archived or, with an ID, for all.
        campaign_id: Only campaigns with this ID.
        channel: Only campaigns of this channel.
        name: Text that the name contains, in any case.
        after: The project and the ID after which to start.
        limit: The maximum number of campaigns.
    """
    statement = _SQL["page"](
        projects=None if projects is None else sorted(projects),
        state=state,
        id=campaign_id,
        channel=channel,
        name=name,
        after_project=after[0],
        after=after[1],
        limit=limit,
    )
    return [campaign_of_row(row) for row in await pool.fetch(*statement)]


async def apply_campaigns(pool: Pool, campaigns: Iterable[Campaign], author: str = "") -> dict[int, str]:
    """Create or change campaigns in one transaction; return `created`, `changed` or `unchanged` by id."""
    async with pool.acquire() as connection, connection.transaction():
        return {one.id: await apply_campaign(connection, one, author) for one in campaigns}


async def apply_campaign(connection: Connection, campaign: Campaign, author: str) -> str:
    """Create or change a campaign, and keep the result as a version.

    Args:
        connection: The database, in a transaction.
        campaign: The campaign; its revision is ignored.
        author: The name of who makes the change.

    Returns:
        `created`, `changed` or `unchanged`.
    """
    revision = await connection.fetchval(*_SQL["apply"](**row_values(campaign)))
    if revision is None:
        return "unchanged"
    await _keep_version(connection, campaign.project_id, campaign.id, author)
    return "created" if revision == 1 else "changed"


async def set_state(
    connection: Connection, campaign: Campaign, state: CampaignState, author: str, *, archived: bool = False
) -> Campaign:
    """Pause, resume or archive an existing campaign, and return it."""
    return await _set(connection, campaign, author, state=state, managed_by=None, archived=archived)


async def release(connection: Connection, campaign: Campaign, author: str) -> Campaign:
    """Make a campaign that a file manages editable in the portal, and return it."""
    archived = campaign.archived_at is not None
    return await _set(connection, campaign, author, state=campaign.state, managed_by="", archived=archived)


async def list_versions(
    pool: Pool, project_id: int, campaign_id: int, *, before: int | None, limit: int
) -> list[CampaignVersion]:
    """Return the versions of a campaign with numbers below `before`, the newest first."""
    statement = _SQL["versions"](project_id=project_id, campaign_id=campaign_id, before=before, limit=limit)
    return [_version(row) for row in await pool.fetch(*statement)]


async def find_version(
    database: Pool | Connection, project_id: int, campaign_id: int, number: int
) -> CampaignVersion | None:
    """Return a version of a campaign, or None."""
    statement = _SQL["version"](project_id=project_id, campaign_id=campaign_id, number=number)
    row = await database.fetchrow(*statement)
    return _version(row) if row else None


async def _set(
    connection: Connection,
    campaign: Campaign,
    author: str,
    *,
    state: CampaignState,
    managed_by: str | None,
    archived: bool,
) -> Campaign:
    row = await connection.fetchrow(
        *_SQL["set_state"](
            project_id=campaign.project_id,
            id=campaign.id,
            state=state.value,
            managed_by=managed_by,
            archived=archived,
        )
    )
    assert row is not None  # noqa: S101 - campaigns are never deleted
    await _keep_version(connection, campaign.project_id, campaign.id, author)
    return campaign_of_row(row)


async def _keep_version(connection: Connection, project_id: int, campaign_id: int, author: str) -> None:
    await connection.execute(*_SQL["keep_version"](project_id=project_id, id=campaign_id, author=author))


def _version(row: asyncpg.Record) -> CampaignVersion:
    return CampaignVersion(content_of_json(row["content"]), row["created_at"], row["created_by"])
