"""Reads what the message of a trigger is rendered from."""

from __future__ import annotations

import uuid
from typing import NamedTuple

from ...domain.campaign import Campaign
from ...domain.trigger import Trigger
from ..pool import Pool
from ..sql import load
from ..trigger_rows import tested_content, trigger_of_row

__all__ = ["Content", "find_content"]

_FIND = load("records/content.sql")["find"]


class Content(NamedTuple):
    """A trigger, the content that an author tests with it, and the time zone of its project."""

    trigger: Trigger
    tested: Campaign | None
    timezone: str


async def find_content(pool: Pool, trigger_id: uuid.UUID) -> Content | None:
    """Return what the record has of a trigger, or None if it does not exist."""
    row = await pool.fetchrow(*_FIND(id=trigger_id))
    return Content(trigger_of_row(row), tested_content(row), row["of_project"]) if row else None
