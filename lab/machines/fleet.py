"""Clarion on its hosts: 2 gateways, 3 servers and 3 dispatchers, and a mail server."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from server.process.health_check import wait_serving

from ..errors import LabError
from ..parts import as_env, clarion, prepare
from ..process import Process, module_command, module_env
from ..sink import Counts, Mail, read_mails
from .cluster import DATABASES, Cluster, cluster
from .load import PORT, GatewayLoad
from .network import Network

__all__ = ["ANSWER_TIMEOUT", "DISPATCHERS", "GATEWAYS", "HOSTS", "LEASE", "SERVERS", "Fleet", "running_fleet"]

GATEWAYS = ("gateway1", "gateway2")
SERVERS = ("server1", "server2", "server3")
DISPATCHERS = ("dispatch1", "dispatch2", "dispatch3")
_MAIL = "mail"
HOSTS = (*DATABASES, *GATEWAYS, *SERVERS, *DISPATCHERS, _MAIL)
LEASE, ANSWER_TIMEOUT = 15.0, 4.0
"""Seconds. They are short, so that what a lost dispatcher has claimed is soon sent by others."""
_READY = 120.0
_LISTEN = 8081
_CAMPAIGNS = """
project: machines
campaigns:
  - id: 44
    name: many machines
    channel: email
    provider: sandbox
    sender: faults@clarion.example
    templates: {default: {subject: "{{ event.call }}", text: "This is {{ event.call }}."}}
"""


@dataclass
class Fleet:
    """Everything that runs, and what calls it."""

    network: Network
    databases: Cluster
    folder: Path
    """The folder of the logs."""
    load: GatewayLoad
    processes: dict[str, Process] = field(default_factory=dict)
    """Gateways, servers and dispatchers by host."""

    def mails(self) -> list[Mail]:
        """Return the received mails."""
        return read_mails(self.folder / "mails")

    def logged(self, host: str, text: str) -> int:
        """Return how many lines of a host's log contain a text."""
        return sum(text in line for line in (self.folder / f"{host}.log").read_text().splitlines())


@asynccontextmanager
async def running_fleet(net: Network, folder: Path) -> AsyncIterator[Fleet]:
    """Run everything for the block, in a new folder.

    Raises:
        LabError: A process did not start.
    """
    log = folder / "log"
    log.mkdir(mode=0o700, parents=True)
    async with AsyncExitStack() as stack:
        databases = await stack.enter_async_context(cluster(net, folder, log))
        counts = Counts(log / "counts")
        mails = ("--mails", log / "mails", "--host", net.addresses[_MAIL])
        command = module_command("sink", "smtp", log / "counts", *mails)
        sink = Process("sink", [*net.command(_MAIL), *command], log, env=module_env(), ready="listening")
        await stack.enter_async_context(sink.running())
        env = _environment(databases.url, net.addresses[_MAIL], counts.port)
        campaigns = log / "campaigns.yaml"
        campaigns.write_text(_CAMPAIGNS)
        _, key = await prepare(databases.url, env, campaigns)
        load = GatewayLoad([net.addresses[host] for host in GATEWAYS], key)
        fleet = Fleet(net, databases, log, load)
        for process in _processes(net, folder, log, env):
            await stack.enter_async_context(_kept(process))
            fleet.processes[process.name] = process
        await _until_gateways_serve(load)
        yield fleet


@asynccontextmanager
async def _kept(process: Process) -> AsyncIterator[None]:
    """Run a process for the block; it may be restarted meanwhile."""
    await process.start()
    try:
        yield
    finally:
        await process.stop()


def _processes(net: Network, folder: Path, log: Path, env: dict[str, str]) -> list[Process]:
    """Return the processes of Clarion, in the order in which they start."""
    listen = {host: f"{net.addresses[host]}:{_LISTEN}" for host in SERVERS}
    made = []
    for host in (*SERVERS, *DISPATCHERS, *GATEWAYS):
        data = folder / host
        data.mkdir(mode=0o700)
        own = {**env, "CLARION_DATA_DIR": str(data)}
        if host in SERVERS:
            own |= {"CLARION_SERVER_LISTEN": listen[host]}
            command = [*net.command(host), *clarion("serve")]
            made.append(Process(host, command, log, env=own, ready=_serving(listen[host])))
        elif host in DISPATCHERS:
            command = [*net.command(host), *clarion("dispatch")]
            made.append(Process(host, command, log, env=own, ready="dispatching"))
        else:
            gateway = {
                "port": PORT,
                "host": net.addresses[host],
                "upstreams": ",".join(listen.values()),
                "latency_target": 10.0,
                "drain_timeout": 1.0,
            }
            command = [*net.command(host), *clarion("gateway"), "run"]
            made.append(Process(host, command, log, env={**own, **as_env({"gateway": gateway})}))
    return made


def _serving(address: str) -> Callable[[], Awaitable[None]]:
    return lambda: wait_serving(address, _READY)


def _environment(url: str, mail: str, port: int) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CLARION_")}
    provider = {
        "type": "smtp",
        "host": mail,
        "port": port,
        "security": "none",
        "timeout": ANSWER_TIMEOUT,
        "answer_timeout": ANSWER_TIMEOUT,
        "breaker_pause": 1.0,
        "in_doubt_hold": 6.0,
    }
    settings = {"database": {"url": url}, "dispatch": {"lease": LEASE}, "providers": {"sandbox": provider}}
    return {**kept, **as_env(settings)}


async def _until_gateways_serve(load: GatewayLoad) -> None:
    async with asyncio.timeout(_READY):
        async with load.running(len(load.hosts)):
            for host in load.hosts:
                while True:
                    try:
                        _, writer = await asyncio.open_connection(host, PORT)
                    except OSError:
                        await asyncio.sleep(0.1)
                    else:
                        writer.close()
                        break
            while sum(one.accepted for one in load.answers) < 20:  # noqa: ASYNC110, PLR2004
                await asyncio.sleep(0.1)
    if not load.accepted:
        raise LabError("no gateway accepts triggers")
