"""Reads figures of the queue and the database, for metrics and for `clarion status`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..domain.campaign import Channel
from ..domain.figures import DatabaseFigures, QueueState, TableRows
from .pool import Connection, Pool
from .sql import load

__all__ = ["MOST_COUNTED", "database_figures", "queued"]

_SQL = load("figures.sql")
MOST_COUNTED = 100_000
"""Most triggers of one lane that are counted in each state. That takes about 20 ms."""


async def queued(
    database: Pool | Connection, lanes: Sequence[str], most: int = MOST_COUNTED
) -> Mapping[tuple[Channel, QueueState], int]:
    """Return how many triggers are queued, by channel and state.

    Args:
        database: The database.
        lanes: The lanes to count.
        most: How many to count in each lane and state.
    """
    rows = await database.fetch(*_SQL["queued"](lanes=list(lanes), most=most))
    return {(Channel(row["channel"]), state): int(row[state.value]) for row in rows for state in QueueState}


async def database_figures(database: Pool | Connection) -> DatabaseFigures:
    """Return figures of the database."""
    row = await database.fetchrow(*_SQL["database"]())
    assert row  # noqa: S101 - it has no FROM
    tables = await database.fetch(*_SQL["rows"]())
    rows = {table["name"]: TableRows(table["live"], table["dead"]) for table in tables}
    return DatabaseFigures(**row, rows=rows)
