"""What is measured: the ceiling and Clarion, each behind an Envoy of its own, as real processes."""

from __future__ import annotations

import asyncio
import http.client
import shutil
import signal
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg
from msgspec import structs

import gateway
from gateway import GatewaySettings
from server.config import load
from server.domain.key import Scope, new_secret
from server.postgres.embedded import EmbeddedPostgres
from server.process.health_check import wait_serving
from server.store.admin import keys
from server.store.schema.migrate import migrate
from server.up import demo
from server.up.data_folder import RunDir
from server.wiring.campaigns import apply_campaign_file
from server.wiring.common import build_providers, opened_pool, with_database

from ..bench.plan import BODY, PATH, BenchError, Plan
from .process import bench_module, running, until_logged, with_bench

__all__ = ["Ceiling", "Clarion", "Stand", "ceiling", "clarion", "unlimited"]

_READY_SECONDS = 30.0
_HEALTHY_SECONDS = 10.0
_UNLIMITED = 100_000
_ANY_TIME = 60.0  # seconds


@dataclass(frozen=True, slots=True)
class Stand:
    """Something that takes triggers on a port, with its processes' ids by role."""

    port: int
    pids: dict[str, list[int]]


@dataclass(frozen=True, slots=True)
class Ceiling(Stand):
    """Envoy and empty servers."""


@dataclass(frozen=True, slots=True)
class Clarion(Stand):
    """Envoy, servers and PostgreSQL; a dispatcher when asked for."""

    key: str
    url: str
    run: RunDir
    env: dict[str, str]
    targets: Sequence[str]
    """The servers' sockets."""

    @asynccontextmanager
    async def dispatching(self) -> AsyncIterator[Stand]:
        """Run a dispatcher for the block; it delivers to the sandbox."""
        log = self.run.data / "dispatcher.log"
        log.unlink(missing_ok=True)
        async with running(_clarion("dispatch"), log, env=self.env) as process:
            await until_logged(process, log, "dispatching", _READY_SECONDS)
            yield Stand(self.port, {**self.pids, "dispatcher": [process.pid]})

    async def counts(self) -> tuple[int, int]:
        """Return how many triggers are delivered and how many wait."""
        connection = await asyncpg.connect(self.url)
        try:
            delivered = await connection.fetchval("SELECT count(*) FROM attempt WHERE outcome = 'delivered'")
            return delivered, await connection.fetchval("SELECT count(*) FROM queue")
        finally:
            await connection.close()

    async def clear(self) -> None:
        """Forget all triggers, so that each round begins with an empty queue and a flushed disk."""
        connection = await asyncpg.connect(self.url)
        try:
            await connection.execute("TRUNCATE trigger, queue, attempt, dead_letter, idempotency")
            await connection.execute("CHECKPOINT")
        finally:
            await connection.close()
        await asyncio.to_thread(shutil.rmtree, self.run.data / "outbox", ignore_errors=True)


@asynccontextmanager
async def ceiling(plan: Plan, run: RunDir) -> AsyncIterator[Ceiling]:
    """Run empty servers behind Envoy."""
    async with AsyncExitStack() as stack:
        targets, servers = [], []
        for number in range(plan.processes):
            target = f"unix:{run.socket(f'empty-{number}.sock')}"
            log = run.data / f"empty-{number}.log"
            command = bench_module("bench.ceiling", target)
            process = await stack.enter_async_context(running(command, log, env=with_bench()))
            targets.append(target)
            servers.append(process.pid)
        port, envoy = await stack.enter_async_context(_envoy(plan, run, "ceiling", targets, key=new_secret()))
        yield Ceiling(port, {"envoy": [envoy], "server": servers})


@asynccontextmanager
async def clarion(plan: Plan, run: RunDir) -> AsyncIterator[Clarion]:
    """Run PostgreSQL, `clarion serve` and Envoy, with the demo's campaigns and a fresh key."""
    postgres = EmbeddedPostgres(run.data, run.sockets)
    await postgres.prepare()
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(
            running(postgres.command(), run.data / "postgres.log", stop=signal.SIGINT)
        )
        await postgres.wait_ready(_READY_SECONDS)
        key = await _prepared(postgres.url, run.data)
        env = {"CLARION_DATA_DIR": str(run.data), "CLARION_DATABASE_URL": postgres.url}
        targets, servers = [], []
        for number in range(plan.processes):
            target = f"unix:{run.socket(f'server-{number}.sock')}"
            listen = {"CLARION_SERVER_LISTEN": target, "CLARION_SERVER_LAME_DUCK": "0"}
            log = run.data / f"server-{number}.log"
            process = await stack.enter_async_context(running(_clarion("serve"), log, env={**env, **listen}))
            targets.append(target)
            servers.append(process.pid)
        port, envoy = await stack.enter_async_context(_envoy(plan, run, "clarion", targets, key=key))
        pids = {"envoy": [envoy], "server": servers, "postgres": [database.pid]}
        yield Clarion(port, pids, key, postgres.url, run, env, targets)


@asynccontextmanager
async def unlimited(plan: Plan, product: Clarion) -> AsyncIterator[Stand]:
    """Run another Envoy in front of the same servers, one that never refuses."""
    gate = _envoy(plan, product.run, "unlimited", product.targets, key=product.key, refuses=False)
    async with gate as (port, envoy):
        yield Stand(port, {**product.pids, "envoy": [envoy]})


@asynccontextmanager
async def _envoy(
    plan: Plan, run: RunDir, name: str, targets: Sequence[str], *, key: str, refuses: bool = True
) -> AsyncIterator[tuple[int, int]]:
    """Run the gateway as Clarion does; give its port and process id once it answers 204."""
    for target in targets:
        await wait_serving(target, _READY_SECONDS)
    options = GatewaySettings(
        port=_free_port(),
        upstreams=tuple(targets),
        admin_socket=str(run.socket(f"{name}.sock")),
        threads=plan.envoy_threads,
        drain_timeout=1.0,
        drain_grace=0.0,  # at the end nobody calls any more
    )
    if not refuses:
        options = structs.replace(options, max_concurrent_per_server=_UNLIMITED, latency_target=_ANY_TIME)
    folder = run.data / f"envoy-{name}"
    folder.mkdir(mode=0o700)
    async with gateway.running(options, workdir=folder) as envoy:
        await _until_204(options.port, key)
        yield options.port, envoy.pid


async def _prepared(url: str, data: Path) -> str:
    """Make schema, project, campaigns and a key; return the key's secret."""
    await migrate(url)
    settings = with_database(load(None, {"CLARION_DATA_DIR": str(data)}), url)
    secret = new_secret()
    async with opened_pool(settings) as pool:
        project, _ = await apply_campaign_file(pool, demo.CAMPAIGNS, build_providers(settings))
        await keys.create_key(pool, secret, project_id=project, name="bench", scopes={Scope.TRIGGER})
    return secret


async def _until_204(port: int, key: str) -> None:
    """Wait until a trigger is answered as the contract says.

    Raises:
        BenchError: it is not.
    """
    status = 0
    try:
        async with asyncio.timeout(_HEALTHY_SECONDS):
            while status != http.HTTPStatus.NO_CONTENT:  # Envoy finds its servers healthy when it does
                await asyncio.sleep(0.05)
                status = await asyncio.to_thread(_trigger, port, key)
    except TimeoutError:
        raise BenchError(f"a good trigger is answered with {status}, not 204") from None


def _trigger(port: int, key: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    try:
        connection.request("POST", PATH, BODY, headers)
        return connection.getresponse().status
    finally:
        connection.close()


def _clarion(*words: str) -> list[str]:
    return [sys.executable, "-P", "-m", "server", *words]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
