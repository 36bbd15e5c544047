"""Starts the real product, each process by its own command: PostgreSQL, servers, gateways, dispatchers.

Unlike `clarion up` (see `lab.up`) it starts each part when the caller needs it, so that a benchmark can
measure without a dispatcher or with two gateways, and a fault test can kill and restart single processes.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
import shutil
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg

import gateway
from gateway import GatewaySettings
from server.process.health_check import wait_serving
from server.up import demo
from server.up.data_folder import RunDir

from .embedded import postgres, postgres_process
from .errors import LabError
from .parts import as_env, clarion, prepare, wait_connectable
from .process import Process, free_port, module_env

__all__ = [
    "NO_LIMITS",
    "Deployment",
    "Product",
    "postgres",
    "postgres_process",
    "product",
    "product_on",
    "serve",
]

_READY_SECONDS = 120.0
NO_LIMITS: Mapping[str, Any] = {"max_concurrent_per_server": 100_000, "latency_target": 60.0}
"""Gateway settings with which no call is rejected. A configuration file must not contain them."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """A gateway's port, and the processes behind it."""

    port: int
    pids: Mapping[str, Sequence[int]]
    """Process IDs by role."""
    servers: Sequence[Process] = ()
    addresses: Sequence[str] = ()
    """The servers' own addresses."""

    def with_dispatcher(self, dispatcher: Process) -> Deployment:
        """Return the deployment with a dispatcher among its processes."""
        return dataclasses.replace(self, pids={**self.pids, "dispatcher": [dispatcher.pid]})


@dataclass(frozen=True, slots=True)
class Product:
    """PostgreSQL with schema, campaigns and an API key. The methods start the rest for a block."""

    run: RunDir
    postgres: Process
    database_url: str
    project_id: int
    key: str
    """The secret of an API key that may trigger every campaign."""
    env: Mapping[str, str]
    python: Path = Path(sys.executable)
    """The interpreter of the environment in which this version of Clarion is installed."""

    async def with_campaigns(self, campaigns: Path, settings: Mapping[str, Any]) -> Product:
        """Return the product with other campaigns and settings, in the same database.

        Args:
            campaigns: the campaign file.
            settings: more settings of all processes, as nested tables.
        """
        env = {**self.env, **as_env(settings)}
        project_id, key = await prepare(self.database_url, env, campaigns)
        return dataclasses.replace(self, project_id=project_id, key=key, env=env)

    @asynccontextmanager
    async def serving(
        self, *, servers: int = 1, threads: int = 0, portal: bool = False, **options: Any
    ) -> AsyncIterator[Deployment]:
        """Run servers behind a gateway.

        Args:
            servers: number of server processes.
            threads: Envoy's worker threads; 0 for the default.
            portal: whether to run the portal, too.
            options: other `GatewaySettings`.
        """
        sockets = [f"unix:{self.run.socket(f'server-{number}.sock')}" for number in range(servers)]
        processes = [self.server_process(number, address) for number, address in enumerate(sockets)]
        pids: dict[str, Sequence[int]] = {"postgres": [self.postgres.pid]}
        async with AsyncExitStack() as stack:
            if portal:
                options["portal"] = f"unix:{self.run.socket('portal.sock')}"
                pages = await stack.enter_async_context(self._portal(options["portal"], sockets).running())
                pids["portal"] = [pages.pid]
            deployment = await stack.enter_async_context(
                serve(self.run, processes, sockets, threads=threads, **options)
            )
            yield dataclasses.replace(deployment, pids={**deployment.pids, **pids})

    @asynccontextmanager
    async def another_gateway(self, deployment: Deployment, **options: Any) -> AsyncIterator[Deployment]:
        """Run a second gateway, with other options, in front of the same servers."""
        async with _gateway(self.run, deployment.addresses, **options) as (port, envoy):
            pids = {**deployment.pids, "envoy": [envoy]}
            yield dataclasses.replace(deployment, port=port, pids=pids)

    @asynccontextmanager
    async def dispatching(
        self,
        settings: Mapping[str, Any] | None = None,
        *,
        name: str = "dispatcher",
        program: Sequence[str] | None = None,
    ) -> AsyncIterator[Process]:
        """Run a dispatcher.

        Args:
            settings: settings for the dispatcher only, as nested tables.
            name: the name of its log.
            program: what to run instead of `clarion`.
        """
        async with self.dispatcher_process(settings, name=name, program=program).running() as process:
            yield process

    def dispatcher_process(
        self,
        settings: Mapping[str, Any] | None = None,
        *,
        name: str = "dispatcher",
        program: Sequence[str] | None = None,
    ) -> Process:
        """Return a process that runs a dispatcher; the arguments are those of `dispatching`."""
        env = {**(module_env() if program else {}), **self.env, **as_env(settings or {})}
        command = [*(program or clarion(python=self.python)), "dispatch"]
        return Process(name, command, self.run.log, env=env, ready="dispatching")

    async def rows(self, sql: str, *values: object) -> list[asyncpg.Record]:
        """Query the database on a new connection."""
        connection = await asyncpg.connect(self.database_url)
        try:
            found: list[asyncpg.Record] = await connection.fetch(sql, *values)
            return found
        finally:
            await connection.close()

    async def queued(self) -> int:
        """Return the number of triggers in the queue."""
        return int((await self.rows("SELECT count(*) FROM queue"))[0][0])

    async def delivered(self) -> int:
        """Return the number of delivered triggers."""
        sql = "SELECT count(*) FROM attempt WHERE outcome = 'delivered'"
        return int((await self.rows(sql))[0][0])

    async def clear(self) -> None:
        """Delete all triggers and their messages, and flush the disk, so that all rounds start equal.

        Call it before a dispatcher starts: claims lock the same tables in another order, which deadlocks.
        """
        await self.rows("TRUNCATE trigger, queue, attempt, dead_letter, suppression, idempotency")
        await self.rows("CHECKPOINT")
        await asyncio.to_thread(shutil.rmtree, self.run.data / "outbox", ignore_errors=True)

    def gateway_process(self, port: int, upstreams: Sequence[str], env: Mapping[str, str]) -> Process:
        """Return a process that runs `clarion gateway run`, with more environment variables."""
        settings = as_env({"gateway": {"port": port, "upstreams": ",".join(upstreams)}})
        command = [*clarion("gateway", python=self.python), "run"]
        return Process("gateway", command, self.run.log, env={**self.env, **settings, **env})

    def _portal(self, address: str, servers: Sequence[str]) -> Process:
        settings = as_env({"portal": {"listen": address, "servers": ",".join(servers)}})
        return Process(
            "portal",
            clarion("portal", python=self.python),
            self.run.log,
            env={**self.env, **settings},
            ready=lambda: wait_connectable(address),
        )

    def server_process(self, number: int, address: str, lame_duck: float = 0.0) -> Process:
        """Return a process that runs a server, which still serves for `lame_duck` seconds after SIGTERM."""
        own = as_env({"server": {"listen": address, "lame_duck": lame_duck}})
        return Process(
            f"server-{number}",
            clarion("serve", python=self.python),
            self.run.log,
            env={**self.env, **own},
            ready=lambda: wait_serving(address, _READY_SECONDS),
        )


@asynccontextmanager
async def product(
    run: RunDir, *, campaigns: Path = demo.CAMPAIGNS, settings: Mapping[str, Any] | None = None
) -> AsyncIterator[Product]:
    """Run PostgreSQL with the schema, campaigns and an API key.

    Args:
        run: the folder of the run.
        campaigns: the campaign file.
        settings: settings of all processes, as nested tables.
    """
    async with (
        postgres(run) as (server, process),
        product_on(run, process, server.url, campaigns=campaigns, settings=settings) as made,
    ):
        yield made


@asynccontextmanager
async def product_on(
    run: RunDir,
    process: Process,
    url: str,
    *,
    campaigns: Path = demo.CAMPAIGNS,
    settings: Mapping[str, Any] | None = None,
) -> AsyncIterator[Product]:
    """Create the schema, campaigns and an API key in a running database.

    Args:
        run: the folder of the run.
        process: the database's process.
        url: the database's URL.
        campaigns: the campaign file.
        settings: settings of all processes, as nested tables.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CLARION_")}
    paths = {"CLARION_DATA_DIR": str(run.data), "CLARION_DATABASE_URL": url}
    env = {**kept, **paths, **as_env(settings or {})}
    project_id, key = await prepare(url, env, campaigns)
    yield Product(run, process, url, project_id, key, env)


@asynccontextmanager
async def serve(
    run: RunDir, servers: Sequence[Process], addresses: Sequence[str], **options: Any
) -> AsyncIterator[Deployment]:
    """Run servers with these addresses behind a gateway; the options are those of `Product.serving`."""
    async with AsyncExitStack() as stack:
        for server in servers:
            await stack.enter_async_context(server.running())
        port, envoy = await stack.enter_async_context(_gateway(run, addresses, **options))
        pids = {"envoy": [envoy], "server": [server.pid for server in servers]}
        yield Deployment(port, pids, servers, addresses)


@asynccontextmanager
async def _gateway(
    run: RunDir, upstreams: Sequence[str], *, threads: int = 0, **options: Any
) -> AsyncIterator[tuple[int, int]]:
    """Run a gateway as `clarion gateway run` does; yield its port and Envoy's process ID."""
    port = free_port()
    admin = run.socket(f"envoy-{port}.sock")
    settings = GatewaySettings(
        port=port,
        upstreams=tuple(upstreams),
        admin_socket=str(admin),
        threads=threads,
        drain_timeout=1.0,
        drain_grace=0.0,  # no caller is left at the end
        **options,
    )
    folder = run.data / f"envoy-{port}"
    folder.mkdir(mode=0o700)
    async with gateway.running(settings, workdir=folder) as envoy:
        try:
            async with asyncio.timeout(_READY_SECONDS):
                for upstream in upstreams:
                    await gateway.wait_upstream(admin, upstream)
        except TimeoutError:
            raise LabError(f"the gateway found no healthy server within {_READY_SECONDS:g} s") from None
        yield port, envoy.pid
