"""Drafts of campaigns in the database. The row of the campaign must be locked while its draft is changed."""

from __future__ import annotations

import asyncpg

from ...domain.campaign import Campaign, CampaignDraft
from ..campaign_rows import content_json, content_of_json
from ..pool import Connection, Pool
from ..sql import load

__all__ = ["delete_draft", "find_draft", "save_draft"]

_SQL = load("admin/drafts.sql")


async def find_draft(database: Pool | Connection, campaign: Campaign) -> CampaignDraft | None:
    """Return the draft of a campaign, or None."""
    statement = _SQL["find"](project_id=campaign.project_id, campaign_id=campaign.id)
    row = await database.fetchrow(*statement)
    return _draft(row) if row else None


async def save_draft(
    connection: Connection, content: Campaign, base_version: int, author: str
) -> CampaignDraft:
    """Create or replace the draft of a campaign, and return it.

    Args:
        connection: The database, in a transaction.
        content: The campaign with the content of the draft.
        base_version: The version of the campaign that the draft was made from.
        author: The name of who saves it.
    """
    row = await connection.fetchrow(
        *_SQL["save"](
            project_id=content.project_id,
            campaign_id=content.id,
            content=content_json(content),
            base_version=base_version,
            author=author,
        )
    )
    assert row is not None  # noqa: S101 - the statement returns the row that it writes
    return _draft(row)


async def delete_draft(connection: Connection, campaign: Campaign) -> None:
    """Delete the draft of a campaign."""
    await connection.execute(*_SQL["delete"](project_id=campaign.project_id, campaign_id=campaign.id))


def _draft(row: asyncpg.Record) -> CampaignDraft:
    campaign = content_of_json(row["content"])
    return CampaignDraft(campaign, row["base_version"], row["saved_at"], row["saved_by"])
