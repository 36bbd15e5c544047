"""Migrations, against a real PostgreSQL."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path

import asyncpg
import pytest
from structlog.testing import capture_logs

from server.domain.campaign import RetryPolicy, Undefined
from server.domain.delivery import AttemptOutcome, ClaimRequest
from server.domain.idempotency import IdempotencyKey
from server.errors import ConfigError, StoreUnavailable
from server.store.admin import campaigns, projects
from server.store.pool import open_pool
from server.store.queue.triggers import PostgresQueue
from server.store.records.admin_lists import AdminFilter
from server.store.schema import migrate as migrating
from server.store.schema.indexes import build_indexes
from server.store.schema.migrate import is_usable, migrate, require_schema
from server.store.schema.version import HEAD
from server.store.sql import Statement
from tests.kit.store import PLACE, a_trigger, ended, redrive, writing

_numbers = itertools.count()


@pytest.fixture
async def empty(url: str) -> str:
    """The URL of a new database."""
    name = f"empty_{next(_numbers)}"
    connection = await asyncpg.connect(url)
    await connection.execute(f"CREATE DATABASE {name}")
    await connection.close()
    return url.replace("/clarion?", f"/{name}?")


async def test_migrating_twice_is_migrating_once(empty: str) -> None:
    with pytest.raises(ConfigError, match="no schema; run `clarion migrate`"):
        await require_schema(empty)
    version = await migrate(empty)
    await require_schema(empty)
    assert await migrate(empty) == version


@pytest.mark.long
async def test_several_processes_may_migrate_at_once(empty: str) -> None:
    assert len({*await asyncio.gather(*(migrate(empty) for _ in range(4)))}) == 1
    await require_schema(empty)


async def at_revision(url: str, revision: str, data: str) -> None:
    """Bring an empty database to an older schema, as that version of Clarion did, and fill it."""
    versions = Path(migrating.__file__).parent / "migrations" / "versions"
    connection = await asyncpg.connect(url)
    for script in sorted(versions.glob("*.sql")):
        if script.name.partition("_")[0] <= revision:
            await connection.execute(script.read_text(encoding="utf-8"))
    await connection.execute("CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY)")
    await connection.execute("INSERT INTO alembic_version VALUES ($1)", revision)
    await connection.execute(data)
    await connection.close()


OF_0003 = """
    INSERT INTO project (id, name) VALUES (1, 'one');
    INSERT INTO campaign VALUES (1, 44, 'Orders', 'email', 'smtp', 'active', 'a@example.com',
        '{"default":{"subject":"s","text":"t"}}', '{"max_attempts":3}', 7);
    INSERT INTO trigger
    SELECT id::uuid, 1, 44, channel, 'ext-1', 'a@example.com', '', '', '', '', now() - interval '1 h', ''
    FROM (VALUES ('00000000-0000-7000-8000-000000000001', 'email'),
        ('00000000-0000-7000-8000-000000000002', 'text'),
        ('00000000-0000-7000-8000-000000000003', 'email'),
        ('00000000-0000-7000-8000-000000000004', 'email')) AS t (id, channel);
    INSERT INTO queue (trigger_id, provider, due_at, attempt, claimed_by, claimed_at) VALUES
        ('00000000-0000-7000-8000-000000000001', 'smtp', now() - interval '1 h', 2, NULL, now()),
        ('00000000-0000-7000-8000-000000000002', 'sms', now() - interval '1 h', 0, NULL, NULL),
        ('00000000-0000-7000-8000-000000000003', 'smtp', now(), 1, gen_random_uuid(), now());
    INSERT INTO attempt VALUES
        ('00000000-0000-7000-8000-000000000004', 1, 'smtp', 'dead', now(), 0.1, '', '550 no');
    INSERT INTO dead_letter VALUES ('00000000-0000-7000-8000-000000000004', now(), '550 no');
    INSERT INTO server_process VALUES (gen_random_uuid(), now());
"""


async def test_triggers_from_before_version_0004_are_delivered(empty: str) -> None:
    await at_revision(empty, "0003", OF_0003)
    await migrate(empty)
    pool = await open_pool(empty, size=2, connect_timeout=60)
    queue = PostgresQueue(pool)
    assert await queue.lanes() == {"email/smtp", "text/sms"}
    claims = await queue.claim(
        [ClaimRequest("email/smtp", "smtp", 9), ClaimRequest("text/sms", "sms", 9)], 60
    )
    assert [(one.trigger.id.int & 0xF, one.attempt, one.tries, one.expires_at) for one in claims] == [
        (1, 3, 3, None),
        (2, 1, 1, None),
        (3, 2, 2, None),
    ]
    lost = await pool.fetchrow("SELECT number, provider, outcome FROM attempt WHERE outcome = 'lost'")
    assert lost
    assert tuple(lost) == (1, "", "lost")  # who was to send it was not noted then
    await queue.finish([ended(one, AttemptOutcome.DELIVERED) for one in claims[:2]])
    await queue.finish([ended(claims[2], AttemptOutcome.SUPPRESSED)])
    assert await redrive(pool, AdminFilter()) == 1
    [again] = await queue.claim([ClaimRequest("email/smtp", "smtp", 9)], 60)
    assert (again.attempt, again.tries) == (2, 1)
    pool.terminate()


async def test_a_campaign_from_before_version_0004_is_as_it_was(empty: str) -> None:
    await at_revision(empty, "0003", OF_0003)
    await migrate(empty)
    pool = await open_pool(empty, size=2, connect_timeout=60)
    found = await campaigns.find_campaign(pool, 1, 44)
    assert found
    assert (found.providers, found.lane, found.revision) == (("smtp",), "email/smtp", 7)
    assert found.retry == RetryPolicy(max_attempts=3)
    assert (found.window, found.unsubscribe_url, found.undefined) == (None, "", Undefined.EMPTY)
    assert [one.timezone for one in await projects.list_projects(pool)] == ["UTC"]
    assert await pool.fetchval("SELECT role FROM server_process") == "server"
    pool.terminate()


async def test_a_new_channel_needs_no_migration(empty: str) -> None:
    await at_revision(empty, "0003", OF_0003)
    await migrate(empty)
    connection = await asyncpg.connect(empty)
    await connection.execute("UPDATE campaign SET channel = 'chat' WHERE id = 44")
    with pytest.raises(asyncpg.CheckViolationError):
        await connection.execute("UPDATE campaign SET channel = 'no channel!' WHERE id = 44")
    await connection.close()


async def set_version(url: str, number: str, oldest: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute("UPDATE alembic_version SET version_num = $1", number)
    await connection.execute("UPDATE schema_compatibility SET oldest = $1", oldest)
    await connection.close()


async def test_this_version_runs_on_the_next_schema(empty: str) -> None:
    await migrate(empty)
    await set_version(empty, "9998", HEAD)
    await require_schema(empty)
    assert await migrate(empty) == "9998"
    pool = await open_pool(empty, size=2, connect_timeout=60)
    assert await is_usable(pool)
    pool.terminate()


async def test_later_schema_is_refused_without_naming_migrate(empty: str) -> None:
    await migrate(empty)
    await set_version(empty, "9999", "9998")
    for attempt in (require_schema, migrate):
        with pytest.raises(ConfigError, match="schema 9999, which needs a version for schema 9998") as raised:
            await attempt(empty)
        assert "clarion migrate" not in str(raised.value)
        assert "\n" not in str(raised.value)
    pool = await open_pool(empty, size=2, connect_timeout=60)
    assert not await is_usable(pool)
    pool.terminate()


async def test_earlier_schema_is_to_be_migrated(empty: str) -> None:
    await at_revision(empty, "0003", "SELECT 1")
    with pytest.raises(ConfigError, match=f"schema 0003, this version needs {HEAD}; run `clarion migrate`"):
        await require_schema(empty)


async def test_prepared_statements_survive_a_migration(empty: str) -> None:
    """A migration that changes a type makes PostgreSQL refuse statements that were prepared before."""
    await migrate(empty)
    pool = await open_pool(empty, size=2, connect_timeout=60)
    await pool.execute("INSERT INTO project (id, name) VALUES (1, 'one')")
    first, second = a_trigger(), a_trigger()
    async with writing(pool) as writer:
        await writer.add(first, PLACE, IdempotencyKey.of("k", first))
        await pool.execute("ALTER TABLE idempotency ALTER COLUMN key TYPE varchar(300)")
        assert await writer.add(second, PLACE, IdempotencyKey.of("k", second)) == first.id
    pool.terminate()


async def test_a_column_that_is_missing_is_an_outage(empty: str) -> None:
    """A server that runs while a later version removes what it needs rejects calls until it is replaced."""
    await migrate(empty)
    pool = await open_pool(empty, size=2, connect_timeout=60)
    await pool.execute("INSERT INTO project (id, name) VALUES (1, 'one')")
    await pool.execute("ALTER TABLE trigger RENAME COLUMN event TO payload")
    async with writing(pool) as writer:
        with pytest.raises(StoreUnavailable):
            await writer.add(a_trigger(), PLACE)
    pool.terminate()


OF_0010 = """
    INSERT INTO project (id, name) VALUES (1, 'one');
    INSERT INTO suppression
    SELECT 1, channel, address, reason, 'smtp', gen_random_uuid(), now() - age::interval
    FROM (VALUES ('email', 'A@Example.com', 'first', '4 h'), ('email', 'A@EXAMPLE.com', 'second', '3 h'),
        ('email', 'b@example.com', 'as it was', '2 h'), ('push', 'Token@A', 'no domain', '1 h'))
        AS s (channel, address, reason, age);
"""


async def test_suppressions_from_before_version_0011_are_by_domain(empty: str) -> None:
    await at_revision(empty, "0010", OF_0010)
    await migrate(empty)
    connection = await asyncpg.connect(empty)
    rows = await connection.fetch("SELECT address, reason FROM suppression ORDER BY created_at")
    await connection.close()
    assert [tuple(row) for row in rows] == [
        ("A@example.com", "first"), ("b@example.com", "as it was"), ("Token@A", "no domain"),
    ]  # fmt: skip


BY_ADDRESS = {"by_address": Statement("CREATE INDEX CONCURRENTLY by_address ON trigger (address)")}
IS_VALID = "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass($1)"


async def until_building(connection: asyncpg.Connection[asyncpg.Record]) -> int:
    """Return the process that builds the index, once it waits for a transaction."""
    query = (
        "SELECT pid FROM pg_stat_activity WHERE wait_event = 'virtualxid' AND query LIKE 'CREATE INDEX CONC%'"
    )
    while not (pid := await connection.fetchval(query)):
        await asyncio.sleep(0.02)
    return int(pid)


async def test_an_index_killed_halfway_is_built_again(empty: str) -> None:
    """While it is built, others write to the table, and a second process waits for the first."""
    await migrate(empty)
    writer, watcher, *builders = [await asyncpg.connect(empty) for _ in range(5)]
    writing_now = writer.transaction()
    await writing_now.start()
    await writer.execute("LOCK TABLE trigger IN ROW EXCLUSIVE MODE")
    first = asyncio.create_task(build_indexes(builders[0], BY_ADDRESS))
    pid = await asyncio.wait_for(until_building(watcher), 60)
    await watcher.execute("DELETE FROM trigger")
    with capture_logs() as logs:
        await watcher.execute("SELECT pg_terminate_backend($1)", pid)
        with pytest.raises((asyncpg.PostgresError, OSError)):
            await first
    assert "index not built; run `clarion migrate` again" in [one["event"] for one in logs]
    assert await watcher.fetchval(IS_VALID, "trigger_first_by_address") is False
    both = asyncio.gather(*(build_indexes(one, BY_ADDRESS) for one in builders[1:]))
    await writing_now.rollback()
    await asyncio.wait_for(both, 60)
    assert await watcher.fetchval(IS_VALID, "by_address") is True
    for connection in (writer, watcher, *builders):
        await connection.close()


async def test_migrate_builds_missing_indexes(empty: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrating, "INDEXES", BY_ADDRESS)
    await asyncio.gather(*(migrate(empty) for _ in range(3)))
    connection = await asyncpg.connect(empty)
    assert await connection.fetchval(IS_VALID, "by_address") is True
    await connection.close()
