"""Plans a migration: what `clarion migrate` would do, and for about how long, without changing anything."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from ...errors import ConfigError
from ..connection_errors import explained
from ..database_url import parse_database_url
from ..partitioning import PARTITIONED
from ..pool import Connection, connect, reached
from ..sql import load
from .indexes import INDEXES, table_of, unfinished
from .migrate import read_version
from .version import HEAD, SCRIPTS

__all__ = ["IndexBuild", "MigrationPlan", "Partitioning", "plan_migration"]

_SQL = load("schema/migrate.sql")
_MIB = 1024 * 1024
SPEEDS = (50 * _MIB, 250 * _MIB)
"""Bytes of tables that PostgreSQL reads per second, on a slow and a fast disk: see docs/how-to/upgrade.md."""
_INDEX_READS = 2
"""`CREATE INDEX CONCURRENTLY` reads a table twice (PostgreSQL's documentation of CREATE INDEX)."""
BASIS = (
    f"reads tables at {SPEEDS[0] // _MIB} to {SPEEDS[1] // _MIB} MiB/s: each {_INDEX_READS} times for an"
    " index, once to partition; without the migrations themselves, and without waiting for open transactions"
)


@dataclass(frozen=True, slots=True)
class IndexBuild:
    """An index to build. `size` is that of its table, in bytes; an invalid index is built again."""

    name: str
    table: str
    size: int
    is_invalid: bool


@dataclass(frozen=True, slots=True)
class Partitioning:
    """A table to partition, with its bytes and its estimated rows; None if it was never analysed."""

    table: str
    size: int
    rows: int | None


@dataclass(frozen=True, slots=True)
class MigrationPlan:
    """What a migration would do, in this order: migrations, indexes, partitions.

    Attributes:
        found: The schema's version; empty without a schema.
        migrations: The names of the migrations to run.
    """

    found: str
    migrations: list[str]
    indexes: list[IndexBuild]
    partitions: list[Partitioning]

    @property
    def bytes_read(self) -> int:
        """How much of tables indexes and partitions read."""
        return _INDEX_READS * sum(one.size for one in self.indexes) + sum(one.size for one in self.partitions)

    @property
    def seconds(self) -> tuple[float, float]:
        """The shortest and the longest time that indexes and partitions may be expected to take."""
        slow, fast = SPEEDS
        return self.bytes_read / fast, self.bytes_read / slow

    def as_data(self) -> dict[str, object]:
        """Return the plan for JSON."""
        return {
            **asdict(self),
            "target": HEAD,
            "estimated_seconds": [round(one, 1) for one in self.seconds],
            "basis": BASIS,
        }

    def lines(self) -> list[str]:
        """Return the plan for a terminal."""
        lines = [f"schema: {self.found or 'none'}; this version of Clarion: {HEAD}"]
        lines += [f"run migration {name}" for name in self.migrations]
        for index in self.indexes:
            again = " again" if index.is_invalid else ""
            lines.append(f"build index {index.name}{again} on {index.table} ({_size(index.size)})")
        for one in self.partitions:
            rows = "unknown number of rows" if one.rows is None else f"about {one.rows:,} rows"
            lines.append(f"partition table {one.table} ({_size(one.size)}, {rows})")
        if len(lines) == 1:
            return [*lines, "nothing to do"]
        least, most = self.seconds
        return [*lines, f"estimated time: {least:.0f} to {most:.0f} s ({BASIS})"]


async def plan_migration(url: str) -> MigrationPlan:
    """Return what `migrate` would do.

    Raises:
        ConfigError: The schema is too new for this version, or the URL or its user's privileges are wrong.
        StoreUnavailable: The database cannot be reached.
    """
    async with reached():
        connection = await connect(url)
        try:
            with explained(parse_database_url(url)):
                async with connection.transaction(readonly=True):
                    return await _plan(connection)
        finally:
            await connection.close()


async def _plan(connection: Connection) -> MigrationPlan:
    found = await read_version(connection)
    if found.is_newer and found.problem:
        raise ConfigError(found.problem)
    names = sorted(script.stem for script in (SCRIPTS / "versions").glob("*.py"))
    indexes = [
        IndexBuild(name, table := table_of(INDEXES[name]), (await _figures(connection, table))[0], is_invalid)
        for name, is_invalid in (await unfinished(connection, INDEXES)).items()
    ]
    partitions = []
    for table in PARTITIONED:
        size, rows, is_partitioned = await _figures(connection, table)
        if not is_partitioned:
            partitions.append(Partitioning(table, size, rows))
    migrations = [name for name in names if name.partition("_")[0] > found.number]
    return MigrationPlan(found.number, migrations, indexes, partitions)


async def _figures(connection: Connection, table: str) -> tuple[int, int | None, bool]:
    """Return a table's bytes, its estimated rows, and whether it is partitioned."""
    row = await connection.fetchrow(*_SQL["table_figures"](name=table))
    assert row is not None  # noqa: S101 - an aggregate
    return row["size"], row["rows"], row["is_partitioned"]


def _size(size: int) -> str:
    return f"{size / _MIB:,.1f} MiB"
