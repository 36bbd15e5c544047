"""Tables that exist are partitioned while they are in use, and without copying their rows."""

from __future__ import annotations

import asyncio
import itertools

import asyncpg
import pytest
from structlog.testing import capture_logs

from server.domain.trigger import Trigger
from server.store.partitioning import PARTITIONED
from server.store.pool import open_pool
from server.store.queue.triggers import PostgresQueue
from server.store.schema import indexes
from server.store.schema import migrate as migrating
from server.store.schema.migrate import migrate
from tests.kit.outcomes import DELIVERED
from tests.kit.store import a_trigger, accept, ended, shares

_numbers = itertools.count()


@pytest.fixture
async def plain(url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of a database whose migrations have run, but whose tables are not partitioned."""
    name = f"plain_{next(_numbers)}"
    connection = await asyncpg.connect(url)
    await connection.execute(f"CREATE DATABASE {name}")
    await connection.close()
    own = url.replace("/clarion?", f"/{name}?")
    with monkeypatch.context() as patch:
        patch.setattr(migrating, "partition_tables", _not_yet)
        await migrate(own)
    connection = await asyncpg.connect(own)
    await connection.execute("INSERT INTO project (id, name) VALUES (1, 'one')")
    await connection.close()
    return own


async def _not_yet(_: object) -> None:
    """Partition no table, as if the process had been killed before."""


async def is_partitioned(pool: asyncpg.Pool[asyncpg.Record], name: str) -> bool:
    kind = await pool.fetchval("SELECT relkind::text FROM pg_class WHERE oid = $1::text::regclass", name)
    return bool(kind == "p")


async def test_rows_stay_in_their_files(plain: str) -> None:
    pool = await open_pool(plain, size=4, connect_timeout=60)
    first, second = a_trigger(), a_trigger()
    await accept(pool, first)
    queue = PostgresQueue(pool)
    [claim] = await queue.claim(shares(sandbox=1), 60)
    await queue.finish([ended(claim, DELIVERED)])
    files = {name: await pool.fetchval("SELECT pg_relation_filenode($1::text)", name) for name in PARTITIONED}
    await migrate(plain)
    for name, file in files.items():
        assert await is_partitioned(pool, name)
        assert await pool.fetchval("SELECT pg_relation_filenode($1::text)", f"{name}_first") == file
        assert await pool.fetchval(f"SELECT count(*) FROM {name}") == 1  # noqa: S608 - ours
    await accept(pool, second)
    [claim] = await queue.claim(shares(sandbox=1), 60)
    assert claim.id == second.id
    assert await pool.fetchval("SELECT count(*) FROM trigger_first") == 2
    pool.terminate()


async def test_privileges_stay(plain: str) -> None:
    connection = await asyncpg.connect(plain)
    await connection.execute("CREATE ROLE reader; GRANT SELECT ON trigger TO reader")
    try:
        await migrate(plain)
        assert await connection.fetchval("SELECT has_table_privilege('reader', 'trigger', 'SELECT')")
    finally:
        await connection.execute("DROP OWNED BY reader; DROP ROLE reader")
        await connection.close()


async def test_triggers_are_accepted_meanwhile(plain: str) -> None:
    """Their statements were prepared before, and are not refused."""
    pool = await open_pool(plain, size=4, connect_timeout=60)
    accepted: list[Trigger] = []
    done = asyncio.Event()

    async def accepting() -> None:
        queue = PostgresQueue(pool)
        while not done.is_set() or not accepted:
            accepted.append(a_trigger())
            await accept(pool, accepted[-1])
            claims = await queue.claim(shares(sandbox=1), 60)
            await queue.finish([ended(claim, DELIVERED) for claim in claims])

    writing = asyncio.create_task(accepting())
    await migrate(plain)
    count = len(accepted)
    while len(accepted) < count + 5 and not writing.done():
        await asyncio.sleep(0.01)
    done.set()
    await writing
    assert await pool.fetchval("SELECT count(*) FROM trigger") == len(accepted)
    assert await pool.fetchval("SELECT count(*) FROM attempt") == len(accepted)
    pool.terminate()


async def test_a_table_in_use_is_partitioned_later(plain: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others are not made to wait for a long transaction, and what was interrupted can be repeated."""
    monkeypatch.setattr(indexes, "LOCK_TRIES", 1)
    holder = await asyncpg.connect(plain)
    pool = await open_pool(plain, size=2, connect_timeout=60)
    using = holder.transaction()
    await using.start()
    await holder.execute("LOCK TABLE attempt IN ACCESS SHARE MODE")
    with capture_logs() as logs, pytest.raises(Exception, match="'attempt' could not be locked"):
        await migrate(plain)
    assert "waiting for other sessions to release a table" in [one["event"] for one in logs]
    assert [await is_partitioned(pool, name) for name in PARTITIONED] == [True, False]
    await accept(pool, a_trigger())
    await using.rollback()
    await migrate(plain)
    assert [await is_partitioned(pool, name) for name in PARTITIONED] == [True, True]
    await holder.close()
    pool.terminate()
