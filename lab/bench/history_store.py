"""Fills databases with triggers of the past, whose content has been removed. Part of `lab.bench.history`."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from server.store.partitioning import PARTITIONED
from server.store.sql import load

from ..command import log

__all__ = [
    "CAMPAIGNS",
    "SQL",
    "add_campaigns",
    "add_rows",
    "begin_in_the_past",
    "partitions_and_size",
    "past_partitions",
]

CAMPAIGNS = (1044, 1045, 1046)
SQL = load(str(Path(__file__).with_suffix(".sql")))
_SECONDS = 3600.0
_USERS = 200_000


@dataclass(frozen=True, slots=True)
class Partition:
    """A partition of the table of triggers."""

    name: str
    starts: dt.datetime
    ends: dt.datetime


async def begin_in_the_past(connection: asyncpg.Connection, *, days: int, width: int) -> None:
    """Have a partition for each `width` days of the last `days`, as after that time of use.

    Args:
        connection: The database, without triggers. Its session has settings for filling from then on.
        days: How far back the partitions go.
        width: The days of each partition.
    """
    await connection.execute(SQL["functions"].text)
    await connection.execute(*SQL["settings"]())
    for parent, key in PARTITIONED.items():
        await connection.execute(*SQL["begin_at"](parent=parent, days=days))
        await connection.execute(*SQL["add_partitions"](parent=parent, key=key, days=width))


async def past_partitions(connection: asyncpg.Connection) -> list[Partition]:
    """Return the partitions of triggers that ended, the oldest first, without that of all times before."""
    now = dt.datetime.now(dt.UTC)
    rows = await connection.fetch(*SQL["partitions"]())
    return [Partition(*row) for row in rows if row["starts"] and row["ends"] < now]


async def add_rows(
    connection: asyncpg.Connection, project_id: int, partitions: Sequence[Partition], rows: int
) -> None:
    """Fill empty partitions.

    Args:
        connection: The session that `begin_in_the_past` has prepared.
        project_id: The project of the triggers.
        partitions: The partitions of triggers; those of their attempts are filled too.
        rows: The triggers of each, delivered at the first attempt.
    """
    began = time.monotonic()
    for one in partitions:
        times = {"rows": rows, "starts": one.starts, "ends": one.ends}
        owner = {"project_id": project_id, "campaigns": list(CAMPAIGNS), "users": _USERS}
        for parent, values in (("trigger", {**times, **owner}), ("attempt", times)):
            tables = {"parent": parent, "partition": one.name.replace("trigger", parent, 1)}
            bounds = await connection.fetchval(*SQL["detach"](**tables))
            await connection.execute(*SQL[parent](**values), timeout=_SECONDS)
            await connection.execute(*SQL["attach"](**tables, bounds=bounds), timeout=_SECONDS)
    for name in ("content_removed", "all_counted", "vacuum", "checkpoint"):
        await connection.execute(*SQL[name](), timeout=_SECONDS)
    log(
        f"{rows * len(partitions)} triggers in {len(partitions)} partitions, {time.monotonic() - began:.0f} s"
    )


async def partitions_and_size(connection: asyncpg.Connection) -> tuple[int, int]:
    """Return the number of partitions of triggers, and the bytes of the database."""
    row = await connection.fetchrow(*SQL["sizes"]())
    assert row is not None  # noqa: S101 - it has no table
    return row["partitions"], row["size"]


async def add_campaigns(connection: asyncpg.Connection) -> int:
    """Create campaigns, and a project if there is none; return the project's ID."""
    await connection.execute(*SQL["project"]())
    project_id: int = await connection.fetchval("SELECT min(id) FROM project")
    await connection.execute(*SQL["campaigns"](project_id=project_id, ids=list(CAMPAIGNS)))
    return project_id
