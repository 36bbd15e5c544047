"""The embedded PostgreSQL, as it is run by the supervisor and alone."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import stat
import sys
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from server.postgres import orphans as leftovers
from server.postgres.embedded import EmbeddedPostgres
from server.up.data_folder import RunDir
from tests.kit.embedded_postgres import ask, postmaster, supervised
from tests.kit.processes import has_ended
from tests.kit.until import TIMEOUT

needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh cluster to copy: making one takes most of a test's time."""
    data = tmp_path_factory.mktemp("made")
    asyncio.run(EmbeddedPostgres(data, data).prepare())
    return data / "postgres"


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "create"),
    [("a b", False), ('it\'s "quoted", 100% é', True), ("deep/" + "d" * 120 + "/" + "e" * 120, False)],
)
async def test_restart_keeps_the_data(short: Path, made: Path, name: str, *, create: bool) -> None:
    if not create:
        shutil.copytree(made, short / name / "postgres")
    for expected in (None, 1):
        with RunDir(short / name) as run:
            postgres = EmbeddedPostgres(run.data, run.sockets)
            async with supervised(postgres, run.log):
                found = await ask(postgres.url, "SELECT count(*) FROM pg_tables WHERE tablename = 'kept'")
                assert found == (expected or 0)
                await ask(postgres.url, "CREATE TABLE IF NOT EXISTS kept (id int)")
            assert list(run.sockets.iterdir()) == []
        assert not run.sockets.exists()


async def test_settings_are_durable_and_private(short: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPORT", "6543")
    monkeypatch.setenv("LC_ALL", "xx_XX")
    with RunDir(short) as run:
        postgres = EmbeddedPostgres(run.data, run.sockets)
        async with supervised(postgres, run.log):
            expected = {
                "data_checksums": "on",
                "fsync": "on",
                "full_page_writes": "on",
                "synchronous_commit": "on",
                "listen_addresses": "",
                "server_encoding": "UTF8",
                "TimeZone": "UTC",
                "log_error_verbosity": "terse",
            }
            for name, value in expected.items():
                assert await ask(postgres.url, f"SHOW {name}") == value
            assert await ask(postgres.url, "SELECT upper('é')") == "É"
            assert stat.S_IMODE(run.socket(".s.PGSQL.5432").stat().st_mode) == 0o700
            assert stat.S_IMODE(postgres.cluster.stat().st_mode) == 0o700
            assert postgres.cluster.stat().st_uid == run.data.stat().st_uid


@pytest.mark.long
async def test_sqlalchemy_accepts_the_url(short: Path, made: Path) -> None:
    shutil.copytree(made, short / "postgres")
    with RunDir(short) as run:
        async with EmbeddedPostgres(run.data, run.sockets).running() as url:
            engine = create_async_engine(url.replace("postgresql:", "postgresql+asyncpg:"))
            async with engine.connect() as connection:
                assert (await connection.execute(text("SELECT current_database()"))).scalar() == "clarion"
            await engine.dispose()


@needs_linux
async def test_killed_postgres_restarts_with_committed_data(short: Path, made: Path) -> None:
    shutil.copytree(made, short / "postgres")
    with RunDir(short) as run:
        postgres = EmbeddedPostgres(run.data, run.sockets)
        async with supervised(postgres, run.log) as said:
            await ask(postgres.url, "CREATE TABLE kept AS SELECT 7 AS id")
            # A backend that is busy does not notice its postmaster's end, and holds the shared memory.
            busy = asyncio.create_task(ask(postgres.url, "SELECT count(*) FROM generate_series(1, 1e10)"))
            await _until_busy(postgres.url)
            os.kill(postmaster(postgres), signal.SIGKILL)
            with pytest.raises((asyncpg.PostgresError, OSError)):
                await asyncio.wait_for(busy, 60)
            await postgres.wait_ready(TIMEOUT)
            assert await ask(postgres.url, "SELECT id FROM kept") == 7
        assert sum("killed by SIGKILL" in text for text in said) == 1


async def _until_busy(url: str) -> None:
    busy = "state = 'active' AND query LIKE '%1e10%' AND pid != pg_backend_pid()"
    query = f"SELECT count(*) FROM pg_stat_activity WHERE {busy}"  # noqa: S608 -- a constant
    async with asyncio.timeout(60):
        while not await ask(url, query):
            pass


PROGRAM = """
import asyncio, signal, sys
from pathlib import Path
from server.up.data_folder import RunDir
from server.postgres.embedded import EmbeddedPostgres
from server.up.supervisor import Child, Supervisor

async def main():
    run = RunDir(Path(sys.argv[1]))
    postgres = EmbeddedPostgres(run.data, run.sockets)
    child = Child(name="postgres", command=postgres.command(), env=postgres.environment,
                  prepare=postgres.prepare, ready=postgres.wait_ready,
                  stop_signal=signal.SIGINT, death_signal=signal.SIGQUIT)
    up = lambda: print("up", flush=True)
    await Supervisor([child], run.log, lambda text: None, on_up=up).run()

asyncio.run(main())
"""


@pytest.mark.long
@needs_linux
async def test_killing_the_supervisor_ends_postgres(short: Path, made: Path) -> None:
    shutil.copytree(made, short / "postgres")
    program = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM, str(short), stdout=asyncio.subprocess.PIPE, start_new_session=True
    )
    assert program.stdout
    assert await asyncio.wait_for(program.stdout.readline(), 60) == b"up\n"
    pid = int((short / "postgres" / "postmaster.pid").read_text().split()[0])
    program.kill()
    await program.wait()
    assert has_ended(pid)
    with RunDir(short) as run:
        async with EmbeddedPostgres(run.data, run.sockets).running() as url:
            assert await ask(url, "SELECT 1") == 1


@needs_linux
async def test_orphaned_postgres_is_ended_at_start(short: Path, made: Path) -> None:
    shutil.copytree(made, short / "postgres")
    postgres = EmbeddedPostgres(short, short)
    orphan = await asyncio.create_subprocess_exec(*postgres.command(), env=postgres.environment)
    try:
        await postgres.wait_ready(TIMEOUT)
        async with postgres.running() as url:
            assert orphan.returncode is not None
            assert postmaster(postgres) != orphan.pid
            assert await ask(url, "SELECT 1") == 1
    finally:
        if orphan.returncode is None:
            orphan.kill()
        await orphan.wait()


async def test_pid_file_of_another_process_is_ignored(short: Path, made: Path) -> None:
    shutil.copytree(made, short / "postgres")
    (short / "postgres" / "postmaster.pid").write_text(f"{os.getppid()}\n{short}/postgres\n1\n5432\n\n\n\n")
    async with EmbeddedPostgres(short, short).running() as url:
        assert await ask(url, "SELECT 1") == 1


@pytest.mark.parametrize("garbled", ["", "\n", "\0" * 30, "-1", "9" * 30])
def test_garbled_pid_file_is_removed(tmp_path: Path, garbled: str) -> None:
    (tmp_path / "postmaster.pid").write_text(garbled)
    asyncio.run(leftovers.end_leftovers(tmp_path))
    assert not list(tmp_path.iterdir())


@pytest.mark.long
async def test_garbled_pid_file_is_ignored(short: Path, made: Path) -> None:
    """As a full disk or a power failure leaves it, next to the socket's."""
    shutil.copytree(made, short / "postgres")
    (short / "postgres" / "postmaster.pid").write_text("\0" * 30)
    (short / ".s.PGSQL.5432.lock").write_text("\0" * 30)
    async with EmbeddedPostgres(short, short).running() as url:
        assert await ask(url, "SELECT 1") == 1


@pytest.mark.long
async def test_other_programs_in_the_folder_keep_running(short: Path) -> None:
    bystander = await asyncio.create_subprocess_exec("sleep", "60", cwd=short)
    try:
        await leftovers.end_leftovers(short)
        assert bystander.returncode is None
    finally:
        bystander.kill()
        await bystander.wait()
