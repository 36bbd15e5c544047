"""Logging in to a PostgreSQL on TCP: what works, and what each mistake is called."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from server.cli import cli
from server.errors import ConfigError, StoreUnavailable
from server.store import primary
from server.store.pool import open_pool
from server.store.schema.migrate import migrate, require_schema
from tests.kit.commands import clarion
from tests.kit.stack import free_port
from tests.kit.tcp_postgres import ENCODED, PASSWORD, TcpPostgres, tcp_postgres


@pytest.fixture(scope="module")
async def postgres(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[TcpPostgres]:
    async with tcp_postgres(tmp_path_factory.mktemp("tcp")) as started:
        yield started


async def setting(url: str, name: str, **settings: str) -> object:
    pool = await open_pool(url, size=2, connect_timeout=60, settings=settings)
    try:
        return await pool.fetchval("SELECT current_setting($1)", name)
    finally:
        pool.terminate()


async def test_options_and_own_settings_apply(postgres: TcpPostgres) -> None:
    url = postgres.url(query="?options=-c%20statement_timeout%3D7s&application_name=shop")
    assert await setting(url, "statement_timeout") == "7s"
    assert await setting(url, "statement_timeout", statement_timeout="3s") == "3s"
    assert await setting(url, "application_name") == "shop"
    assert await setting(url, "synchronous_commit") == "on"
    assert await setting(postgres.url(), "application_name") == "clarion"


async def test_a_service_and_a_password_file_log_in(
    postgres: TcpPostgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    services, passwords = tmp_path / "services", tmp_path / "passwords"
    services.write_text(f"[shop]\nhost=127.0.0.1\nport={postgres.port}\nuser=app\ndbname=clarion\n")
    passwords.write_text(f"127.0.0.1:{postgres.port}:*:app:{PASSWORD}\n")
    passwords.chmod(0o600)
    monkeypatch.setenv("PGSERVICEFILE", str(services))
    monkeypatch.setenv("PGPASSFILE", str(passwords))
    for url in ("postgresql:///?service=shop", f"postgresql://app@127.0.0.1:{postgres.port}/clarion"):
        assert await setting(url, "session_authorization") == "app"


@pytest.mark.filterwarnings("ignore:password file")
async def test_a_password_file_for_all_to_read_is_named(
    postgres: TcpPostgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passwords = tmp_path / "passwords"
    passwords.write_text(f"*:*:*:*:{PASSWORD}\n")
    passwords.chmod(0o644)
    monkeypatch.setenv("PGPASSFILE", str(passwords))
    with pytest.raises(ConfigError, match=r"password.*; the file \".*\" is not read: make it private"):
        await require_schema(f"postgresql://app@127.0.0.1:{postgres.port}/clarion")


@pytest.mark.parametrize(
    ("login", "named"),
    [
        (("nobody", "clarion", ""), 'password authentication failed for user "nobody"'),
        (("app", "none", ""), 'database "none" does not exist'),
        (("app", "clarion", "?sslmode=require"), "the server does not support TLS, which sslmode requires"),
        (("app", "clarion", "?sslmode=verify-full"), "root certificate file"),
        (("app", "clarion", "?options=-c%20no_such%3D1"), 'unrecognized configuration parameter "no_such"'),
        (("app", "clarion", "?options=-c%20jit%3Dperhaps"), 'parameter "jit" requires a Boolean value'),
        (("app", "clarion", "?options=-c%20fsync%3Doff"), 'parameter "fsync" cannot be changed now'),
        (("app", "clarion", "?channel_binding=require"), 'channel_binding="require" is not supported'),
    ],
)
async def test_each_mistake_is_one_line_without_the_password(
    postgres: TcpPostgres, monkeypatch: pytest.MonkeyPatch, login: tuple[str, str, str], named: str
) -> None:
    monkeypatch.setenv("HOME", "/nonexistent")
    url = postgres.url(*login)

    async def opened(address: str) -> None:
        (await open_pool(address, size=2, connect_timeout=60)).terminate()

    for use in (opened, migrate, require_schema):
        with pytest.raises(ConfigError) as raised:
            await use(url)
        line = str(raised.value)
        assert line.startswith("database.url: ")
        assert named in line
        assert "\n" not in line
        assert PASSWORD not in line
        assert ENCODED not in line


async def test_a_missing_permission_is_named_by_migrate(postgres: TcpPostgres, tmp_path: Path) -> None:
    admin = await open_pool(postgres.url(), size=2, connect_timeout=60)
    await admin.execute("CREATE DATABASE locked")
    admin.terminate()
    done = await clarion(tmp_path, "migrate", CLARION_DATABASE_URL=postgres.url("app", "locked"))
    assert (done.code, done.out) == (2, "")
    assert done.err == "clarion: database.url: permission denied for schema public\n"


async def test_a_role_that_may_not_read_is_named(postgres: TcpPostgres) -> None:
    with pytest.raises(ConfigError, match=r"^database\.url: permission denied for table alembic_version$"):
        await require_schema(postgres.url("app"))


async def test_a_server_that_is_away_is_an_outage(postgres: TcpPostgres) -> None:
    with pytest.raises(StoreUnavailable):
        await open_pool(f"postgresql://u@127.0.0.1:{free_port()}/d", size=2, connect_timeout=60)
    with pytest.raises(StoreUnavailable):
        await require_schema(f"postgresql://u@127.0.0.1:{free_port()}/d")


async def test_migrate_warns_once_of_a_remote_server_without_tls(
    postgres: TcpPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every test runs on loopback, which needs no TLS, so its address is replaced."""
    monkeypatch.setattr(primary, "exposed_to", lambda _: "192.0.2.7")
    monkeypatch.setenv("CLARION_DATABASE_URL", postgres.url())
    ran = await asyncio.to_thread(CliRunner().invoke, cli, ["migrate"])
    assert ran.exit_code == 0, ran.output
    assert ran.stderr.count("the connection to the database is not encrypted") == 1
    assert "192.0.2.7" in ran.stderr
    assert ran.stdout.startswith("the database has schema version")
