"""Fills a database with what a large installation has after a month. Part of `lab.bench.portal`."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import click

from server.store.sql import Statement, load
from server.up.data_folder import RunDir

from ..command import kept_run, log, temporary_run
from ..errors import LabError

__all__ = ["Size", "examples", "fill", "fill_once", "filled_run", "keep_option"]

_SQL = load(str(Path(__file__).with_suffix(".sql")))
_OF_DELIVERIES = ("triggers", "first_attempts", "last_attempts", "dead_letters", "cancellations", "queue")
_OTHERS = (
    "suppressions",
    "audit_events",
    "webhooks",
    "webhook_messages",
    "api_keys",
    "admin_keys",
    "sessions",
    "operations",
)
_LAST = ("count_accepted", "count_attempts", "provider_results", "all_counted", "analyze", "checkpoint")

_CHUNK = 250_000
_WRITERS = 2
_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class Size:
    """How much there is.

    Attributes:
        deliveries: Accepted triggers of 30 days.
        dead_letters: How many of them were given up.
        campaigns: Campaigns; 95 % of the deliveries are of the first 50.
        others: Suppressions, audit events and messages to a webhook, each.
    """

    deliveries: int = 2_000_000
    dead_letters: int = 200_000
    campaigns: int = 10_000
    others: int = 100_000

    @property
    def dead_every(self) -> int:
        """One of how many deliveries is a dead letter."""
        return max(2, self.deliveries // max(1, self.dead_letters))


keep_option = click.option(
    "--keep",
    type=click.Path(path_type=Path),
    help="Folder whose database is filled once and kept for later runs, instead of --data.",
)


@contextmanager
def filled_run(data: Path, keep: Path | None) -> Iterator[RunDir]:
    """Use a folder for one run below `data`, or the folder `keep`, which stays."""
    with kept_run(keep) if keep else temporary_run(data) as run:
        yield run


async def fill_once(url: str, size: Size, run: RunDir) -> None:
    """Fill a database as `fill` does, unless it is a kept one that was filled before.

    Args:
        url: The database's URL.
        size: How much to write.
        run: The folder of the database.

    Raises:
        LabError: It was filled with another size.
    """
    mark, wanted = run.data / "filled.json", dataclasses.asdict(size)
    if not mark.exists():
        await fill(url, size)
        mark.write_text(json.dumps(wanted))
    elif (found := json.loads(mark.read_text())) != wanted:
        raise LabError(f"{run.data} has {found}; use another folder for {wanted}")


async def fill(url: str, size: Size) -> None:
    """Fill a database that has the schema, the demo's campaigns and nothing else.

    Args:
        url: The database's URL.
        size: How much to write.
    """
    began = time.monotonic()
    connection = await asyncpg.connect(url)
    try:
        await _run(connection, _SQL["projects"])
        await _run(connection, _SQL["campaigns"], number=size.campaigns)
        await _run(connection, _SQL["versions"])
        chunks = asyncio.Queue[tuple[int, int]]()
        for first in range(1, size.deliveries + 1, _CHUNK):
            chunks.put_nowait((first, min(first + _CHUNK - 1, size.deliveries)))
        await asyncio.gather(*(_write_deliveries(url, chunks, size) for _ in range(_WRITERS)))
        log(f"{size.deliveries} deliveries after {time.monotonic() - began:.0f} s")
        for name in _OTHERS:
            await _run(connection, _SQL[name], number=size.others)
        for name in _LAST:
            await _run(connection, _SQL[name])
    finally:
        await connection.close()
    log(f"filled in {time.monotonic() - began:.0f} s")


async def examples(url: str) -> dict[str, str]:
    """Return what the addresses of pages name, by variable."""
    connection = await asyncpg.connect(url)
    try:
        row = await connection.fetchrow(*_SQL["examples"]())
    finally:
        await connection.close()
    assert row is not None  # noqa: S101 - `fill` wrote dead letters
    return {**row, "name": row["project"], "version": "1"}


async def _write_deliveries(url: str, chunks: asyncio.Queue[tuple[int, int]], size: Size) -> None:
    """Write triggers and what became of them, chunk by chunk, until none is left."""
    connection = await asyncpg.connect(url)
    plan = {"total": size.deliveries, "campaigns": size.campaigns, "dead_every": size.dead_every}
    try:
        while not chunks.empty():
            first, last = chunks.get_nowait()
            async with connection.transaction():
                await connection.execute("SET LOCAL synchronous_commit = off")
                await _run(connection, _SQL["plan"], first=first, last=last, **plan)
                for name in _OF_DELIVERIES:
                    await _run(connection, _SQL[name])
    finally:
        await connection.close()


async def _run(connection: asyncpg.Connection, statement: Statement, **values: int) -> None:
    await connection.execute(*statement(**values), timeout=_SECONDS)
