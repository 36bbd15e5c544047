"""Behind PgBouncer: session mode works, transaction mode is refused, and every mistake is named."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from server.domain.delivery import AttemptOutcome
from server.errors import ConfigError
from server.store.accept.notify import NOTIFY
from server.store.pool import Pool, open_pool
from server.store.queue.triggers import SESSION, PostgresQueue
from server.store.schema import migrate as migrating
from server.store.schema.migrate import migrate, require_schema
from server.store.sql import Statement
from tests.kit.pgbouncer import CERTIFICATE, PgBouncer, needs_pgbouncer, pgbouncer
from tests.kit.store import a_trigger, accept, ended, shares
from tests.kit.tcp_postgres import PASSWORD, TcpPostgres, tcp_postgres

pytestmark = needs_pgbouncer
REFUSED = "database.url: the connection goes through a pooler in transaction mode"
KEY = CERTIFICATE.with_suffix(".key")


@pytest.fixture(scope="module")
async def postgres(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[TcpPostgres]:
    async with tcp_postgres(tmp_path_factory.mktemp("behind")) as started:
        yield started


@pytest.fixture(scope="module")
async def sessions(
    tmp_path_factory: pytest.TempPathFactory, postgres: TcpPostgres
) -> AsyncIterator[PgBouncer]:
    """In session mode, with TLS for clients that want it."""
    tls = {"client_tls_sslmode": "allow", "client_tls_cert_file": str(CERTIFICATE)}
    folder = tmp_path_factory.mktemp("sessions")
    async with pgbouncer(
        folder, postgres, pool_mode="session", client_tls_key_file=str(KEY), **tls
    ) as started:
        yield started


@pytest.fixture(scope="module")
async def transactions(
    tmp_path_factory: pytest.TempPathFactory, postgres: TcpPostgres
) -> AsyncIterator[PgBouncer]:
    folder = tmp_path_factory.mktemp("transactions")
    async with pgbouncer(folder, postgres, pool_mode="transaction") as started:
        yield started


async def opened(url: str, **settings: str) -> Pool:
    return await open_pool(url, size=4, connect_timeout=60, settings=settings)


async def test_session_mode_delivers_a_trigger(sessions: PgBouncer) -> None:
    await require_schema(sessions.url())
    pool = await opened(sessions.url(), **SESSION)
    try:
        assert await pool.fetchval("SELECT current_setting('plan_cache_mode')") == "force_generic_plan"
        queue = PostgresQueue(pool)
        waiting = asyncio.create_task(queue.wait(60))
        await accept(pool, a_trigger())
        while not waiting.done():
            await pool.execute(*NOTIFY)
            await asyncio.wait([waiting], timeout=0.05)
        [claim] = await queue.claim(shares(sandbox=4), 60)
        await queue.finish([ended(claim, AttemptOutcome.DELIVERED)])
        assert await pool.fetchval("SELECT outcome FROM attempt") == "delivered"
        await queue.close()
    finally:
        pool.terminate()


async def test_settings_do_not_reach_the_next_session(sessions: PgBouncer) -> None:
    pool = await opened(sessions.url("?options=-c%20search_path%3Dnone"))
    assert await pool.fetchval("SELECT current_setting('search_path')") == "none"
    await pool.close()
    pool = await opened(sessions.url())
    assert await pool.fetchval("SELECT current_setting('search_path')") != "none"
    pool.terminate()


async def test_transaction_mode_is_refused(transactions: PgBouncer) -> None:
    with pytest.raises(ConfigError, match=REFUSED):
        await opened(transactions.url())


async def test_statement_mode_is_refused(postgres: TcpPostgres, tmp_path: Path) -> None:
    async with pgbouncer(tmp_path, postgres, pool_mode="statement") as statements:
        with pytest.raises(ConfigError, match=REFUSED):
            await opened(statements.url())


async def test_transaction_mode_is_refused_under_load(transactions: PgBouncer) -> None:
    """Others take and release the connections between two of ours."""

    async def work() -> None:
        other = await asyncpg.connect(transactions.url(), statement_cache_size=0)
        try:
            while True:
                await other.fetchval("SELECT 1")
        finally:
            other.terminate()

    load = [asyncio.create_task(work()) for _ in range(3)]
    try:
        for _ in range(3):
            with pytest.raises(ConfigError, match=REFUSED):
                await opened(transactions.url())
    finally:
        for task in load:
            task.cancel()
        await asyncio.gather(*load, return_exceptions=True)


async def test_migrating_again_works_in_either_mode(sessions: PgBouncer, transactions: PgBouncer) -> None:
    assert await migrate(sessions.url()) == await migrate(transactions.url())


async def test_indexes_are_not_built_in_transaction_mode(
    transactions: PgBouncer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock of the build would stay in a session that others use."""
    monkeypatch.setattr(
        migrating, "INDEXES", {"late": Statement("CREATE INDEX CONCURRENTLY late ON webhook (id)")}
    )
    with pytest.raises(ConfigError, match=REFUSED):
        await migrate(transactions.url())


async def test_tls_is_verified_as_sslmode_says(sessions: PgBouncer, tmp_path: Path) -> None:
    verified = f"?sslmode=verify-full&sslrootcert={CERTIFICATE}"
    pool = await opened(sessions.url(verified, host="localhost"))
    async with pool.acquire() as connection:
        assert connection._con._transport.get_extra_info("ssl_object")  # type: ignore[attr-defined]
    pool.terminate()
    other = tmp_path / "other.pem"
    other.write_text(ssl.DER_cert_to_PEM_cert(ssl.create_default_context().get_ca_certs(binary_form=True)[0]))
    with pytest.raises(ConfigError, match="the server's certificate is not accepted: self"):
        await opened(sessions.url(f"?sslmode=verify-full&sslrootcert={other}", host="localhost"))


@pytest.mark.parametrize(
    ("query", "database", "named"),
    [("", "none", "no such database: none"), ("?user=unknown", "clarion", "SASL authentication failed")],
)
async def test_the_poolers_errors_are_named(
    sessions: PgBouncer, query: str, database: str, named: str
) -> None:
    for use in (opened, migrate):
        with pytest.raises(ConfigError, match=f"^database.url: {named}") as raised:
            await use(sessions.url(query, database))
        assert PASSWORD not in str(raised.value)
