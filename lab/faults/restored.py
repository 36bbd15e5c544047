"""What `lab.faults.restore` does to PostgreSQL: archive, back up, lose, and restore to a moment."""

from __future__ import annotations

import asyncio
import datetime as dt
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from server.postgres.embedded import EmbeddedPostgres
from server.postgres.orphans import processes_of
from server.up.data_folder import RunDir

from ..errors import LabError
from ..process import Process, until
from ..product import postgres_process

__all__ = ["Primary", "archiving", "restored"]

_PATIENCE = 120.0
_SWITCH = "SELECT pg_walfile_name(pg_switch_wal()) AS last"
_ARCHIVED = "SELECT last_archived_wal >= $1 FROM pg_stat_archiver"


@dataclass(frozen=True, slots=True)
class Primary:
    """A server whose log is archived in its data folder, which stays when its cluster is lost."""

    run: RunDir
    server: EmbeddedPostgres
    process: Process

    @property
    def archive(self) -> Path:
        """The folder with the archived log."""
        return self.run.data / "archive"

    @property
    def base(self) -> Path:
        """The base backup."""
        return self.run.data / "base"

    async def back_up(self) -> None:
        """Copy the cluster while it runs.

        Raises:
            LabError: pg_basebackup failed.
        """
        started = await asyncio.create_subprocess_exec(
            *self.server.program("pg_basebackup"),
            *("--pgdata", str(self.base), "--checkpoint", "fast"),
            *("--host", str(self.server.sockets), "--port", "5432", "--username", "clarion"),
            env=self.server.environment,
        )
        if code := await started.wait():
            raise LabError(f"pg_basebackup ended with exit code {code}")

    async def archive_now(self) -> dt.datetime:
        """Return the database's time, once everything before it is archived.

        Raises:
            LabError: It was not within two minutes.
        """
        connection = await asyncpg.connect(self.server.url)
        try:
            now: dt.datetime = await connection.fetchval("SELECT clock_timestamp()")
            last = await connection.fetchval(_SWITCH)
            async with asyncio.timeout(_PATIENCE):
                while not await connection.fetchval(_ARCHIVED, last):  # noqa: ASYNC110 - no event
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise LabError(f"the log was not archived within {_PATIENCE:g} s") from None
        finally:
            await connection.close()
        return now

    async def lose(self) -> None:
        """Kill the server at once, and delete its cluster."""
        await self.process.end(signal.SIGKILL)
        if not await until(lambda: not processes_of(self.server.cluster), _PATIENCE, every=0.02):
            raise LabError("processes of the killed PostgreSQL do not end")
        await asyncio.to_thread(shutil.rmtree, self.server.cluster)


@asynccontextmanager
async def archiving(run: RunDir) -> AsyncIterator[Primary]:
    """Run a server that archives its log, until the block ends or `Primary.lose`."""
    server, process = postgres_process(run)
    primary = Primary(run, server, process)
    folder = primary.archive
    try:
        await process.start()
        connection = await asyncpg.connect(server.url)
        command = f"mkdir -p {folder} && cp %p {folder}/%f.part && mv {folder}/%f.part {folder}/%f"
        await connection.execute("ALTER SYSTEM SET archive_mode = on")
        await connection.execute(f"ALTER SYSTEM SET archive_command = '{command}'")
        await connection.close()
        await process.stop()
        await process.start()
        yield primary
    finally:
        await process.stop()


@asynccontextmanager
async def restored(
    lost: Primary, run: RunDir, target: dt.datetime | None
) -> AsyncIterator[tuple[EmbeddedPostgres, Process]]:
    """Run a server with the base backup and the archive of another one.

    Args:
        lost: The other one.
        run: The new data folder.
        target: The moment to restore to; None for the end of the archive.
    """
    server, process = postgres_process(run)
    copied = await asyncio.create_subprocess_exec("cp", "-a", str(lost.base), str(server.cluster))
    if await copied.wait():
        raise LabError("the base backup cannot be copied")
    lines = [f"restore_command = 'cp {lost.archive}/%f \"%p\"'", "hot_standby = off", "archive_mode = off"]
    if target:
        lines += [f"recovery_target_time = '{target.isoformat()}'", "recovery_target_action = 'promote'"]
    await asyncio.to_thread(_prepare, server.cluster, lines)
    async with process.running():
        yield server, process


def _prepare(cluster: Path, lines: list[str]) -> None:
    with (cluster / "postgresql.auto.conf").open("a") as settings:
        settings.write("\n".join(["", *lines, ""]))
    (cluster / "recovery.signal").touch()
