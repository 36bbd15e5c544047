"""A PostgreSQL that listens on TCP and requires passwords, as a remote one does. It has no TLS."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from server.postgres.embedded import EmbeddedPostgres
from server.up.data_folder import RunDir
from tests.kit.cluster import copy_cluster
from tests.kit.stack import free_port
from tests.kit.until import until

__all__ = ["PASSWORD", "TcpPostgres", "tcp_postgres"]

PASSWORD = "pa/s@w%rd"
ENCODED = "pa%2Fs%40w%25rd"
_RULES = "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n"


@dataclass(frozen=True)
class TcpPostgres:
    """Where it listens. The role `clarion` is a superuser, `app` is not; both have the same password."""

    port: int
    sockets: Path
    """The folder of its socket, through which no password is needed."""

    def url(self, user: str = "clarion", database: str = "clarion", query: str = "") -> str:
        """Return a URL with the password."""
        return f"postgresql://{user}:{ENCODED}@127.0.0.1:{self.port}/{database}{query}"


@asynccontextmanager
async def tcp_postgres(folder: Path) -> AsyncIterator[TcpPostgres]:
    """Run one with the current schema in a new folder."""
    await copy_cluster(folder)
    with RunDir(folder) as run:
        postgres = EmbeddedPostgres(run.data, run.sockets)
        await postgres.prepare()
        rules = postgres.cluster / "rules.conf"
        rules.write_text(_RULES)
        rules.chmod(0o644)
        port = free_port()
        process = await asyncio.create_subprocess_exec(
            *postgres.command(),
            *("-c", "listen_addresses=127.0.0.1", "-c", f"port={port}", "-c", f"hba_file={rules}"),
            env=postgres.environment,
            stdin=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            started = TcpPostgres(port, run.sockets)
            await until(lambda: _set_passwords(started), "PostgreSQL accepts connections")
            yield started
        finally:
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGINT)
            await process.wait()


async def _set_passwords(started: TcpPostgres) -> bool:
    try:
        connection = await asyncpg.connect(
            host=str(started.sockets), port=started.port, user="clarion", database="clarion"
        )
    except (OSError, asyncpg.CannotConnectNowError):
        return False
    await connection.execute(
        f"ALTER ROLE clarion PASSWORD '{PASSWORD}'; CREATE ROLE app LOGIN PASSWORD '{PASSWORD}'"
    )
    await connection.close()
    return True
