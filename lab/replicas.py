"""Runs a PostgreSQL primary and its standby, which can be suspended and promoted."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import asyncpg

from server.postgres.embedded import EmbeddedPostgres
from server.postgres.orphans import processes_of
from server.up.data_folder import RunDir

from .errors import LabError
from .process import Process
from .product import postgres

__all__ = ["Replica", "added_standby", "replicas", "url_of"]


@dataclass(frozen=True, slots=True)
class Replica:
    """One of the servers."""

    server: EmbeddedPostgres
    process: Process

    async def execute(self, *statements: str) -> None:
        """Run statements on a new connection, each in its own transaction."""
        connection = await asyncpg.connect(self.server.url)
        try:
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close()

    async def promote(self) -> None:
        """Make the standby a primary."""
        await self.execute("SELECT pg_promote()")

    def freeze(self) -> None:
        """Suspend all processes of the server: it accepts connections, but never answers."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Continue after `freeze`."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        for pid in processes_of(self.server.cluster):
            with suppress(ProcessLookupError):
                os.kill(pid, number)


def url_of(servers: Sequence[Replica]) -> str:
    """Return one URL for all the servers, in this order."""
    folders = ",".join(str(one.server.sockets) for one in servers)
    return f"postgresql://clarion@/clarion?host={quote(folders, safe=',')}"


@asynccontextmanager
async def replicas(folder: Path, *, synchronous: bool = False) -> AsyncIterator[tuple[Replica, Replica]]:
    """Run a primary and its standby for the block, in new folders of a private folder.

    Args:
        folder: A short path, because it contains sockets. An existing cluster in `one/postgres` is used.
        synchronous: Commits wait for the standby.
    """
    async with AsyncExitStack() as stack:
        runs = [stack.enter_context(RunDir(folder / name)) for name in ("one", "two")]
        for run in runs:
            run.log.mkdir(mode=0o700)
        first = Replica(*await stack.enter_async_context(postgres(runs[0])))
        stack.callback(first.thaw)
        await _copy(first.server, runs[1].data / "postgres")
        second = Replica(*await stack.enter_async_context(postgres(runs[1])))
        stack.callback(second.thaw)
        if synchronous:
            await first.execute("ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()")
        yield first, second


@asynccontextmanager
async def added_standby(primary: Replica, folder: Path) -> AsyncIterator[Replica]:
    """Run one more standby of a primary for the block, in a new folder."""
    with RunDir(folder) as run:
        run.log.mkdir(mode=0o700)
        await _copy(primary.server, run.data / "postgres")
        async with postgres(run) as running:
            yield Replica(*running)


async def _copy(server: EmbeddedPostgres, target: Path) -> None:
    """Copy a running server's cluster, as that of its standby."""
    new = server.cluster.with_name("standby")  # in a folder that the server's user may write to
    process = await asyncio.create_subprocess_exec(
        *server.program("pg_basebackup"),
        *("--pgdata", str(new), "--write-recovery-conf", "--checkpoint", "fast"),
        *("--host", str(server.sockets), "--port", "5432", "--username", "clarion"),
        env=server.environment,
    )
    if code := await process.wait():
        raise LabError(f"pg_basebackup ended with exit code {code}")
    await asyncio.to_thread(shutil.move, new, target)
