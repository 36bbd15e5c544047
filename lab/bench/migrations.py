"""`python -m lab.bench.migrations`: migrate a long history under load; measure how long callers wait.

The history has the schema of the previous release. PostgreSQL alone runs: the load is one INSERT of a trigger
after the other, as a server would make them. Exit codes: 0; 1 if an INSERT waited too long.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg
import click

from server.domain.trigger import new_id
from server.store.schema.migrate import migrate
from server.store.schema.plan import plan_migration
from server.store.schema.version import HEAD, SCRIPTS

from ..command import HELP, data_option, log, run_command, temporary_run
from ..product import postgres

__all__ = ["LIMIT", "Measured", "main", "measure"]

LIMIT = 2.0
"""Seconds that a call may wait for a lock."""
_BEFORE = "0027"
"""The schema of the previous release, see protos/released/commit."""
_DAYS = 30
_STEP = 500_000
"""Rows of one statement."""
_PAUSE = 0.01
_ID = """(lpad(to_hex((extract(epoch FROM now() - $3::int8 * interval '1 day') * 1000)::int8
    + n * ($3::int8 * 86400000) / $4::int8), 12, '0')
    || '7' || substr(md5(n::text), 1, 3) || '8' || substr(md5(n::text), 4, 15))::uuid"""
_TRIGGERS = f"""
    INSERT INTO trigger (id, project_id, campaign_id, channel, external_id, address, timezone, locale,
        user_data, event)
    SELECT {_ID}, 1, 44, 'email', 'user-' || n, 'user-' || n || '@example.com', 'America/Chicago', 'en', '',
        '{{"random_field": "value"}}' FROM generate_series($1::int8, $2::int8) n"""  # noqa: S608 - a constant
_ATTEMPTS = f"""
    INSERT INTO attempt (trigger_id, number, provider, outcome, started_at, duration, provider_message_id,
        error)
    SELECT {_ID}, 1, 'smtp', 'delivered', now(), 0.1, '', '' FROM generate_series($1::int8, $2::int8) n"""  # noqa: S608
_ACCEPT = """
    WITH accepted AS (INSERT INTO trigger (id, project_id, campaign_id, channel, external_id, address,
        timezone, locale, user_data, event)
        VALUES ($1, 1, 44, 'email', 'u', 'u@example.com', '', '', '', '') RETURNING id)
    INSERT INTO queue (trigger_id, lane) SELECT id, 'email/smtp' FROM accepted"""


@dataclass(slots=True)
class Measured:
    """What a migration took, and what INSERTs waited."""

    rows: int
    table_mib: float = 0.0
    estimate: str = ""
    seconds: float = 0.0
    waits: list[float] = field(default_factory=list)
    """Seconds of each INSERT during the migration."""

    @property
    def passed(self) -> bool:
        """Whether there was a load, and no INSERT waited longer than the limit."""
        return bool(self.waits) and max(self.waits) <= LIMIT

    def __str__(self) -> str:
        """Return one line."""
        return (
            f"schema {_BEFORE} to {HEAD} with {self.rows:,} triggers ({self.table_mib:,.0f} MiB to read): "
            f"{self.seconds:.1f} s, {self.estimate}; {len(self.waits)} INSERTs meanwhile, the slowest"
            f" {max(self.waits, default=0):.2f} s{'' if self.passed else '  FAILED'}"
        )


async def measure(url: str, rows: int) -> Measured:
    """Fill an empty database with a history, and migrate it under load."""
    connection = await asyncpg.connect(url)
    try:
        await _fill(connection, rows)
    finally:
        await connection.close()
    plan, measured = await plan_migration(url), Measured(rows)
    measured.table_mib = plan.bytes_read / 2**20
    measured.estimate = next((line for line in plan.lines() if "estimated" in line), "").partition(" (")[0]
    async with _accepting(url, measured.waits):
        begun = time.monotonic()
        await migrate(url)
        measured.seconds = time.monotonic() - begun
    return measured


async def _fill(connection: asyncpg.Connection, rows: int) -> None:
    """Make the schema and its history."""
    for script in sorted((SCRIPTS / "versions").glob("*.sql")):
        if script.name[:4] <= _BEFORE:
            await connection.execute(script.read_text(encoding="utf-8"))
    await connection.execute("CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY)")
    await connection.execute("INSERT INTO alembic_version VALUES ($1)", _BEFORE)
    await connection.execute("INSERT INTO project (id, name) VALUES (1, 'one')")
    for first in range(1, rows + 1, _STEP):
        last = min(first + _STEP - 1, rows)
        for statement in (_TRIGGERS, _ATTEMPTS):
            await connection.execute(statement, first, last, _DAYS, rows, timeout=None)
        log(f"{last:,} of {rows:,} triggers")
    await connection.execute("VACUUM ANALYZE", timeout=None)
    await connection.execute("CHECKPOINT", timeout=None)


@asynccontextmanager
async def _accepting(url: str, waits: list[float]) -> AsyncIterator[None]:
    """Insert one trigger after the other during the block, and record the seconds of each."""
    connection, ending = await asyncpg.connect(url), asyncio.Event()

    async def repeat() -> None:
        while not ending.is_set():
            begun = time.monotonic()
            await connection.execute(_ACCEPT, new_id())
            waits.append(time.monotonic() - begun)
            await asyncio.sleep(_PAUSE)

    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(repeat())
            try:
                yield
            finally:
                ending.set()
    finally:
        await connection.close()


@click.command(context_settings=HELP)
@click.option("--rows", default=10_000_000, help="Number of triggers, each with an attempt.")
@data_option
def main(*, rows: int, data: Path) -> None:
    """Migrate a long history from the schema of the previous release under load."""
    run_command(_run(rows, data))


async def _run(rows: int, data: Path) -> int:
    with temporary_run(data) as run:
        async with postgres(run) as (server, _):
            measured = await measure(server.url, rows)
    click.echo(str(measured))
    return 0 if measured.passed else 1


if __name__ == "__main__":
    main()
