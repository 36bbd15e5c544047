"""Converts rows of triggers."""

from __future__ import annotations

import asyncpg

from ..domain.campaign import Campaign, Channel
from ..domain.trigger import Trigger
from .campaign_rows import content_of_json

__all__ = ["tested_content", "trigger_of_row"]


def trigger_of_row(row: asyncpg.Record) -> Trigger:
    """Return the trigger of a row that has a column for each field."""
    values = {name: row[name] for name in Trigger.__struct_fields__}
    values["channel"] = Channel(values["channel"])
    return Trigger(**values)


def tested_content(row: asyncpg.Record) -> Campaign | None:
    """Return the content that an author tests with the trigger of a row, or None."""
    return content_of_json(row["test_content"]) if row["test_content"] else None
