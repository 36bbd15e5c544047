"""Reads figures of the queue and the database, for metrics and for `clarion status`."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from operator import itemgetter

import asyncpg

from ..domain.campaign import Channel
from ..domain.figures import Crowd, DatabaseFigures, QueueState, TableRows
from .pool import Connection, Pool
from .sql import load

__all__ = ["MOST_COUNTED", "crowds", "database_figures", "queued"]

_SQL = load("figures.sql")
MOST_COUNTED = 100_000
"""Most triggers of one lane that are counted in each state. That takes about 20 ms."""
_NEAR = 200
"""Triggers at each end of a lane whose projects are looked up."""
_CROWD = 0.8
"""A project crowds a lane if it has this share of the triggers that are due first."""


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


async def crowds(database: Pool | Connection, lanes: Sequence[str]) -> list[Crowd]:
    """Return the projects whose due triggers delay those of others.

    Args:
        database: The database.
        lanes: The lanes to look at. One with less than 200 due triggers is not crowded.
    """
    rows = await database.fetch(*_SQL["crowds"](lanes=list(lanes), most=_NEAR))
    found = (_crowd(lane, list(of_lane)) for lane, of_lane in itertools.groupby(rows, itemgetter("lane")))
    return [one for one in found if one]


def _crowd(lane: str, rows: Sequence[asyncpg.Record]) -> Crowd | None:
    """Return the project that crowds a lane, if there is one; the rows begin with the largest share."""
    first, *others = rows
    if sum(row["first"] for row in rows) < _NEAR or first["first"] < _CROWD * _NEAR or not others:
        return None
    behind = tuple(row["project"] for row in others)
    return Crowd(Channel(lane.partition("/")[0]), first["project"], first["first"] / _NEAR, behind)


async def database_figures(database: Pool | Connection) -> DatabaseFigures:
    """Return figures of the database."""
    row = await database.fetchrow(*_SQL["database"]())
    assert row  # noqa: S101 - it has no FROM
    tables = await database.fetch(*_SQL["rows"]())
    rows = {table["name"]: TableRows(table["live"], table["dead"]) for table in tables}
    return DatabaseFigures(**row, rows=rows)
