"""A migration never makes callers wait for long, and leaves a newer schema as it is."""

from __future__ import annotations

import asyncio
import itertools

import asyncpg
import pytest
from click.testing import CliRunner
from structlog.testing import capture_logs

from server.cli import cli
from server.errors import StoreUnavailable
from server.store.schema import migrate as migrating
from server.store.schema.migrate import migrate
from server.store.schema.version import HEAD
from tests.contract.store.test_migrate import at_revision
from tests.kit.until import TIMEOUT

_numbers = itertools.count()
WAITS = "waiting for other sessions to release the tables that the migrations change"
BEFORE = "0027"
"""Migration 0028 adds a column to `attempt`."""


@pytest.fixture
async def own(url: str) -> str:
    """The URL of a new database."""
    name = f"locked_{next(_numbers)}"
    connection = await asyncpg.connect(url)
    await connection.execute(f"CREATE DATABASE {name}")
    await connection.close()
    return url.replace("/clarion?", f"/{name}?")


@pytest.fixture
async def reader(own: str) -> asyncpg.Connection[asyncpg.Record]:
    """A session that has read a table and keeps its transaction open, as a report does."""
    await at_revision(own, BEFORE, "INSERT INTO project (id, name) VALUES (1, 'one')")
    connection = await asyncpg.connect(own)
    await connection.execute("BEGIN; SELECT FROM attempt")
    return connection


async def test_writers_pass_a_migration_that_waits(
    own: str, reader: asyncpg.Connection[asyncpg.Record]
) -> None:
    writer = await asyncpg.connect(own)
    with capture_logs() as logs:
        migration = asyncio.create_task(migrate(own))
        async with asyncio.timeout(TIMEOUT):
            while WAITS not in [one["event"] for one in logs]:
                await writer.execute("DELETE FROM attempt")
        await reader.execute("ROLLBACK")
        assert await asyncio.wait_for(migration, TIMEOUT) == HEAD
    for connection in (reader, writer):
        await connection.close()


async def test_a_migration_that_gets_no_lock_changes_nothing(
    own: str, reader: asyncpg.Connection[asyncpg.Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrating, "LOCK_TRIES", 1)
    with pytest.raises(StoreUnavailable, match=r"changed nothing.*end long transactions"):
        await migrate(own)
    assert await reader.fetchval("SELECT version_num FROM alembic_version") == BEFORE
    await reader.close()


@pytest.mark.parametrize(("oldest", "code"), [(HEAD, 0), ("9998", 2)])
async def test_migrate_leaves_a_newer_schema(
    own: str, monkeypatch: pytest.MonkeyPatch, oldest: str, code: int
) -> None:
    """A usable one, of the next version, and one of a version after that."""
    await migrate(own)
    connection = await asyncpg.connect(own)
    await connection.execute("UPDATE alembic_version SET version_num = '9999'")
    await connection.execute("UPDATE schema_compatibility SET oldest = $1", oldest)
    await connection.execute("DROP INDEX trigger_of_address")
    monkeypatch.setenv("CLARION_DATABASE_URL", own)
    done = await asyncio.to_thread(CliRunner().invoke, cli, ["migrate"])
    index = await connection.fetchval("SELECT to_regclass('trigger_of_address')")
    await connection.close()
    assert index is None
    text = done.output + str(done.exception or "")
    assert "9999" in text
    assert ("changed nothing" if code == 0 else "install the newer one") in text
    assert (done.exit_code == 0) == (code == 0)
