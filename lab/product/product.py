"""The product and a sink for its mail, each process by its own command, to be killed and started again."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg

import gateway
from server.config import Settings, load
from server.domain.key import Scope, new_secret
from server.postgres.embedded import EmbeddedPostgres
from server.process.health_check import wait_serving
from server.store.admin import keys
from server.store.schema.migrate import migrate
from server.up.data_folder import RunDir
from server.up.supervisor.child import Child
from server.up.supervisor.output import Output
from server.up.supervisor.process import ChildProcess
from server.wiring.campaigns import apply_campaign_file
from server.wiring.common import build_providers, opened_pool, with_database

from ..faults.plan import FaultsError

__all__ = ["CAMPAIGN", "Member", "Product", "running"]

CAMPAIGN = 44
LEASE, PROVIDER_TIMEOUT = 3.0, 2.0
"""Seconds; short, so that what a killed dispatcher held is soon sent again."""
_READY_SECONDS = 30.0
_CAMPAIGNS = """
project: faults
campaigns:
  - id: 44
    name: one of many
    channel: email
    provider: sink
    sender: faults@clarion.example
    templates: {default: {subject: "{{ event.call }}", text: "This is {{ event.call }}."}}
"""
_CONFIG = """
[gateway]
port = {port}
latency_target = 1.0 # on a busy machine calls take long, and refused ones are no load
[dispatch]
lease = {lease}
[providers.sink]
type = "smtp"
host = "127.0.0.1"
port = {sink}
security = "none"
timeout = {timeout}
"""


class _Output(Output):
    """A child's log, which hears when the child says that it works."""

    def __init__(self, path: Path, word: str) -> None:
        super().__init__(path)
        self._word = word
        self.heard = asyncio.Event()

    def write(self, line: str) -> None:
        super().write(line)
        if self._word in line:
            self.heard.set()


class Member:
    """One process of the product."""

    def __init__(self, child: Child, log: Path, word: str = "") -> None:
        """Take the child, and the word by which it tells that it works, unless the child has a `ready`."""
        self.child = child
        self._output = _Output(log / f"{child.name}.log", word)
        self._ready = child.ready or self._output.heard.wait
        self._process: ChildProcess | None = None

    async def start(self) -> None:
        """Start it, and return when it works.

        Raises:
            FaultsError: it does not in time.
        """
        self._output.heard.clear()
        if self.child.prepare:
            await self.child.prepare()
        self._process = await ChildProcess.start(self.child, self._output)
        try:
            async with asyncio.timeout(_READY_SECONDS):
                await self._ready()
        except TimeoutError:
            said = " | ".join(self._output.last_lines()[-3:])
            raise FaultsError(f"{self.child.name} did not start: {said}") from None

    def tell(self, number: signal.Signals) -> None:
        """Send it a signal now."""
        if self._process:
            self._process.send_signal(number)

    async def ended(self, number: signal.Signals) -> None:
        """Wait for its end by a signal.

        Raises:
            FaultsError: it ended another way, perhaps before.
        """
        assert self._process  # noqa: S101 - it was started
        fate, self._process = await self._process.wait(), None
        if fate not in {f"killed by {number.name}", "exit code 0"}:
            raise FaultsError(f"{self.child.name} ended by itself: {fate}")

    async def stop(self) -> None:
        """End it, whatever it does."""
        if self._process:
            await self._process.stop(self.child.stop_timeout, asyncio.Event())


@dataclass(frozen=True, slots=True)
class Product:
    """The running product."""

    url: str
    key: str
    database: str
    members: dict[str, Member]
    mails: Path
    """Where the sink notes what it took."""

    async def until_idle(self, seconds: float) -> int:
        """Wait until nothing is left to deliver; return how much is left after so many seconds."""
        left = -1
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while True:
                    left = (await self.rows("SELECT count(*) FROM queue"))[0][0]
                    if not left:
                        break
                    await asyncio.sleep(0.2)  # an empty queue tells nobody
        return left

    async def rows(self, sql: str, *values: object) -> list[asyncpg.Record]:
        """Ask the database."""
        connection = await asyncpg.connect(self.database)
        try:
            found: list[asyncpg.Record] = await connection.fetch(sql, *values)
            return found
        finally:
            await connection.close()


@asynccontextmanager
async def running(folder: Path, seed: int) -> AsyncIterator[Product]:
    """Run everything for the block in a folder of its own; all has ended after it."""
    with RunDir(folder) as run:
        run.log.mkdir(mode=0o700, exist_ok=True)
        postgres = EmbeddedPostgres(run.data, run.sockets)
        sink_port, settings = _configured(run)
        database = Member(_database(postgres), run.log)
        mails = run.data / "mails"
        sink = Member(_sink(sink_port, mails, seed), run.log, "taking mail")
        async with AsyncExitStack() as stack:
            for member in (database, sink):
                await _join(stack, member)
            key = await _prepared(run, with_database(settings, postgres.url))
            members = _members(run, postgres.url, settings)
            for member in members.values():
                await _join(stack, member)
            url = f"http://127.0.0.1:{settings.gateway.port}"
            yield Product(url, key, postgres.url, {"postgres": database, **members}, mails)


async def _join(stack: AsyncExitStack, member: Member) -> None:
    stack.push_async_callback(member.stop)
    await member.start()


def _configured(run: RunDir) -> tuple[int, Settings]:
    """Write configuration and campaigns; return the sink's port and the settings."""
    port, sink = _free_ports()
    config = run.data / "clarion.toml"
    config.write_text(_CONFIG.format(port=port, sink=sink, lease=LEASE, timeout=PROVIDER_TIMEOUT))
    (run.data / "campaigns.yaml").write_text(_CAMPAIGNS)
    return sink, load(config, {"CLARION_DATA_DIR": str(run.data)})


async def _prepared(run: RunDir, settings: Settings) -> str:
    """Make schema, project, campaign and a key; return the key's secret."""
    await migrate(settings.database.url)
    secret = new_secret()
    async with opened_pool(settings) as pool:
        project, _ = await apply_campaign_file(pool, run.data / "campaigns.yaml", build_providers(settings))
        await keys.create_key(pool, secret, project_id=project, name="faults", scopes={Scope.TRIGGER})
    return secret


def _members(run: RunDir, url: str, settings: Settings) -> dict[str, Member]:
    """Return server, dispatcher and gateway, as `clarion up` runs them."""
    target = f"unix:{run.socket('server-0.sock')}"
    (run.data / "tmp").mkdir(mode=0o700)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CLARION_")}
    env = {
        **kept,
        "CLARION_DATA_DIR": str(run.data),
        "CLARION_DATABASE_URL": url,
        "CLARION_SERVER_LISTEN": target,
        "CLARION_GATEWAY_UPSTREAMS": target,
        "CLARION_GATEWAY_ADMIN_SOCKET": str(run.socket("envoy-admin.sock")),
        "TMPDIR": str(run.data / "tmp"),
    }
    command = [sys.executable, "-P", "-m", "server", "--config", str(run.data / "clarion.toml")]
    gate_command = [*command, "gateway", "run"]

    async def gateway_ready() -> None:
        await gateway.wait_ready(settings.gateway, _READY_SECONDS)

    serve = Child(
        name="server",
        command=[*command, "serve"],
        env=env,
        ready=lambda: wait_serving(target, _READY_SECONDS),
        stop_signal=signal.SIGINT,  # the gateway has ended before
    )
    dispatch = Child(name="dispatcher", command=[*command, "dispatch"], env=env)
    gate = Child(name="gateway", command=gate_command, env=env, ready=gateway_ready)
    return {
        "server": Member(serve, run.log),
        "dispatcher": Member(dispatch, run.log, "dispatching"),
        "gateway": Member(gate, run.log),
    }


def _database(postgres: EmbeddedPostgres) -> Child:
    return Child(
        name="postgres",
        command=postgres.command(),
        env=postgres.environment,
        prepare=postgres.prepare,
        ready=postgres.wait_ready,
        stop_signal=signal.SIGINT,
        death_signal=signal.SIGINT,
    )


def _sink(port: int, mails: Path, seed: int) -> Child:
    command = [sys.executable, "-P", "-m", "lab.product.faults_sink", str(port), str(mails), str(seed)]
    return Child(name="sink", command=command, env=_with_faults())


def _with_faults() -> dict[str, str]:
    """Return where the sink's module is found: it is not installed with the product."""
    root = str(Path(__file__).parents[2])
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))}


def _free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as other:
        for probe in (one, other):
            probe.bind(("127.0.0.1", 0))
        return one.getsockname()[1], other.getsockname()[1]
