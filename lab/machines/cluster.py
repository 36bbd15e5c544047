"""PostgreSQL on three hosts: a primary and two standbys, of which one must confirm each commit."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from server.postgres.embedded import EmbeddedPostgres
from server.up.data_folder import RunDir

from ..errors import LabError
from ..process import Process
from .network import Network
from .procedure import BRING_BACK, FAIL_OVER, run_block

__all__ = ["DATABASES", "Cluster", "Database", "cluster"]

DATABASES = ("db1", "db2", "db3")
_SECONDS = 60.0
_ALONE = {"synchronous_standby_names": ""}
_SETTINGS = {
    "listen_addresses": "*",
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    "shared_buffers": "64MB",
    "max_wal_size": "512MB",
    "wal_keep_size": "512MB",
    "wal_retrieve_retry_interval": "500ms",
    "wal_receiver_timeout": "10s",
    "wal_sender_timeout": "10s",
    "jit": "off",
    "log_line_prefix": "%m [%p] ",
}
_HBA = "local all all trust\nhost all all 10.88.0.0/24 trust\nhost replication all 10.88.0.0/24 trust\n"


@dataclass
class Database:
    """PostgreSQL on one host."""

    host: str
    address: str
    server: EmbeddedPostgres
    network: Network
    log: Path
    process: Process | None = None

    async def start(self, **settings: str) -> None:
        """Start the server, with more settings."""
        chosen = {**_SETTINGS, "cluster_name": self.host, **settings}
        options = [part for name, value in chosen.items() for part in ("-c", f"{name}={value}")]
        server = self.server
        self.process = Process(
            self.host,
            [
                *(*self.network.command(self.host), *server.program("postgres")),
                *("-D", str(server.cluster), "-k", str(server.sockets), *options),
            ],
            self.log,
            env=server.environment,
            prepare=server.prepare,
            ready=server.wait_ready,
            stop_signal=signal.SIGINT,
            death_signal=signal.SIGINT,
        )
        await self.process.start()

    async def stop(self) -> None:
        """Stop the server if it runs."""
        if self.process:
            await self.process.stop()
        self.process = None

    async def kill(self) -> None:
        """Kill all of the server's processes at once."""
        await self.network.kill_all(self.host)
        await self.stop()

    async def query(self, sql: str, *values: object) -> list[asyncpg.Record]:
        """Query the server through its socket, so that the network does not matter."""
        connection = await asyncpg.connect(self.server.url)
        try:
            found: list[asyncpg.Record] = await connection.fetch(sql, *values)
            return found
        finally:
            await connection.close()

    async def execute(self, *statements: str) -> None:
        """Run statements, each in its own transaction."""
        for statement in statements:
            await self.query(statement)


@dataclass
class Cluster:
    """The three servers, and which of them is the primary."""

    servers: dict[str, Database]
    primary: Database

    @property
    def standbys(self) -> list[Database]:
        """The servers that are not the primary."""
        return [one for one in self.servers.values() if one is not self.primary]

    @property
    def url(self) -> str:
        """The URL with all servers, which does not depend on the primary."""
        hosts = ",".join(one.address for one in self.servers.values())
        return f"postgresql://clarion@{hosts}/clarion?target_session_attrs=read-write"

    async def fail_over(self) -> Database:
        """Run the documented commands; return the old primary, which may be down.

        Raises:
            LabError: A command failed.
        """
        old = self.primary
        env = self._environment(old, STANDBYS=" ".join(one.address for one in self.standbys))
        address = await run_block(FAIL_OVER, (), env)
        self.primary = next(one for one in self.standbys if one.address == address)
        return old

    async def bring_back(self, old: Database) -> None:
        """Make the old primary, which is stopped, a standby by the documented commands, and wait for it.

        Raises:
            LabError: A command failed, or it did not follow the primary within a minute.
        """
        env = self._environment(old, NEW=self.primary.address, PGDATA=str(old.server.cluster))
        program = old.server.program("psql")
        await run_block(BRING_BACK, [*old.network.command(old.host), *program[:-1]], env)
        await old.start()
        await self.until_quorum()

    async def until_quorum(self, standbys: int = 2) -> None:
        """Wait until this number of standbys stream from the primary.

        Raises:
            LabError: They did not within a minute.
        """
        sql = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming' AND sync_state = 'quorum'"
        with suppress(TimeoutError):
            async with asyncio.timeout(_SECONDS):
                while (await self.primary.query(sql))[0][0] < standbys:  # noqa: ASYNC110 - it raises no event
                    await asyncio.sleep(0.1)
                return
        raise LabError(f"fewer than {standbys} standbys follow {self.primary.host} after {_SECONDS:g} s")

    def _environment(self, database: Database, **variables: str) -> dict[str, str]:
        programs = str(Path(database.server.program("psql")[-1]).parent)
        path = os.pathsep.join((programs, os.environ.get("PATH", os.defpath)))
        login = {"PGUSER": "clarion", "PGDATABASE": "postgres", "PGCONNECT_TIMEOUT": "5"}
        return {"PATH": path, "LC_ALL": "C", "REPLICATION": "user=clarion", **login, **variables}


@asynccontextmanager
async def cluster(net: Network, folder: Path, log: Path) -> AsyncIterator[Cluster]:
    """Run the three servers for the block; the first is the primary.

    Args:
        net: The network, with the hosts of `DATABASES`.
        folder: A short path, because it contains sockets.
        log: The folder for their logs.
    """
    async with AsyncExitStack() as stack:
        servers = {}
        for host in DATABASES:
            run = stack.enter_context(RunDir(folder / host))
            server = EmbeddedPostgres(run.data, run.sockets)
            servers[host] = Database(host, net.addresses[host], server, net, log)
            stack.push_async_callback(servers[host].stop)
        first, *others = servers.values()
        await first.start(**_ALONE)
        (first.server.cluster / "pg_hba.conf").write_text(_HBA)
        await first.execute("SELECT pg_reload_conf()")
        for other in others:
            await _copy(first, other)
            await other.start()
        names = ", ".join(DATABASES)
        for one in servers.values():
            await one.execute(f"ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 ({names})'")
        await first.stop()
        await first.start()
        made = Cluster(servers, first)
        await made.until_quorum()
        yield made


async def _copy(source: Database, target: Database) -> None:
    new = source.server.cluster.with_name("standby")  # in a folder that the server's user may write to
    process = await asyncio.create_subprocess_exec(
        *(*source.network.command(target.host), *source.server.program("pg_basebackup")),
        *("--pgdata", str(new), "--write-recovery-conf", "--checkpoint", "fast"),
        *("--dbname", f"host={source.address} user=clarion"),
        env=source.server.environment,
    )
    if code := await process.wait():
        raise LabError(f"pg_basebackup ended with exit code {code}")
    await asyncio.to_thread(shutil.move, new, target.server.cluster)
