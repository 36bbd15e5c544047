"""The ten incidents: how each begins and ends, and what must name its cause."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass

from server.postgres.orphans import processes_of

from ...process import Process, free_port
from ..wrong_clock import AHEAD
from .outside import PASSWORD
from .world import FLOOD, RECEIPT, World

__all__ = ["INCIDENTS", "Incident"]

_SLOW_MAIL = 12.0
_STOPPED, _RUNNING = 1.6, 0.1
"""Seconds for which the processes of a slow database alternately stand still and run."""
_FLOOD = 8000
_CALLERS = 4
_LEFT = 0.06
"""The part of the disk that stays free."""


@dataclass(frozen=True, slots=True)
class Incident:
    """An incident.

    Attributes:
        happens: Lets it happen for the block, and repairs what it left behind.
        runbook: The page of the problem in `clarion status`, which is also the name of the alert.
        text: A regular expression that the problem's description matches.
        answer: The cause, for the person who looked for it.
    """

    happens: Callable[[World], AbstractAsyncContextManager[None]]
    runbook: str
    text: str
    answer: str


@asynccontextmanager
async def _provider_down(world: World) -> AsyncIterator[None]:
    world.mail.listener.close()
    try:
        yield
    finally:
        await world.mail.listener.open()


@asynccontextmanager
async def _provider_slow(world: World) -> AsyncIterator[None]:
    world.mail.seconds = _SLOW_MAIL
    try:
        yield
    finally:
        world.mail.seconds = 0.0


@asynccontextmanager
async def _wrong_password(world: World) -> AsyncIterator[None]:
    world.mail.password = "another"  # noqa: S105 - of the drill
    world.mail.listener.close()  # sessions that are logged in would stay
    await world.mail.listener.open()
    try:
        yield
    finally:
        world.mail.password = PASSWORD


@asynccontextmanager
async def _database_slow(world: World) -> AsyncIterator[None]:
    """Let the processes of the database run only now and then, as on an overloaded machine."""

    async def slow_down() -> None:
        while True:
            with _suspended(*processes_of(world.up.data / "postgres")):
                await asyncio.sleep(_STOPPED)
            await asyncio.sleep(_RUNNING)

    slowing = asyncio.create_task(slow_down())
    try:
        yield
    finally:
        slowing.cancel()
        await asyncio.gather(slowing, return_exceptions=True)


@contextmanager
def _suspended(*pids: int) -> Iterator[None]:
    """Suspend processes for the block."""
    try:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        yield
    finally:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


@asynccontextmanager
async def _disk_nearly_full(world: World) -> AsyncIterator[None]:
    usage = shutil.disk_usage(world.up.data)
    filler = world.up.data / "filler"
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, usage.free - int(_LEFT * usage.total))
    try:
        yield
    finally:
        filler.unlink()


@asynccontextmanager
async def _server_hangs(world: World) -> AsyncIterator[None]:
    *_, hung = world.processes("serve")
    with _suspended(hung.pid):
        yield


@asynccontextmanager
async def _poison_template(world: World) -> AsyncIterator[None]:
    await world.apply("shop", RECEIPT, "receipt", "{{ 100 | divided_by: event.items }} each")
    calls = asyncio.create_task(world.call("shop", RECEIPT, 100_000, 0.5))
    try:
        yield
    finally:
        calls.cancel()
        await world.apply("shop", RECEIPT, "receipt", "Thank you")
        again = ("deliveries", "retry", "--all", "--yes", "--project", "shop", "--campaign", str(RECEIPT))
        await world.up.check(*again)


@asynccontextmanager
async def _noisy_tenant(world: World) -> AsyncIterator[None]:
    calls = [asyncio.create_task(world.call("lottery", FLOOD, _FLOOD // _CALLERS)) for _ in range(_CALLERS)]
    try:
        yield
    finally:
        for one in calls:
            one.cancel()
        await world.up.check("deliveries", "cancel", "--all", "--yes", "--project", "lottery")


@asynccontextmanager
async def _clock_skew(world: World) -> AsyncIterator[None]:
    """Run another dispatcher, on a machine whose clock is wrong."""
    listen = f"127.0.0.1:{free_port()}"
    settings = {"CLARION_DATABASE_URL": world.database_url, "CLARION_DISPATCH_METRICS": listen}
    command = [sys.executable, "-P", "-m", "lab.faults.wrong_clock", "--config", str(world.up.config)]
    path = os.pathsep.join(one for one in sys.path if one)
    env = {**world.up.environment, **settings, "PYTHONPATH": path}
    process = Process("second-dispatcher", [*command, "dispatch"], world.up.folder, env=env)
    async with process.running():
        world.prometheus.watch([*world.targets, listen])
        try:
            yield
        finally:
            world.prometheus.watch(world.targets)


@asynccontextmanager
async def _receiver_down(world: World) -> AsyncIterator[None]:
    world.receiver.listener.close()
    try:
        yield
    finally:
        await world.receiver.listener.open()


INCIDENTS: Mapping[str, Incident] = {
    "provider-down": Incident(
        _provider_down,
        "ClarionBreakerOpen",
        r"smtp is open: .*(refused|connect)",
        "The mail server refuses connections: its process does not run.",
    ),
    "provider-slow": Incident(
        _provider_slow,
        "ClarionProviderSlow",
        r"smtp is slow",
        f"The mail server takes {_SLOW_MAIL:g} seconds to reply to each mail.",
    ),
    "wrong-password": Incident(
        _wrong_password,
        "ClarionBreakerOpen",
        r"smtp is open: .*refuses the login.*535",
        "The mail server rejects the password: it was changed there.",
    ),
    "database-slow": Incident(
        _database_slow,
        "ClarionDatabaseSlow",
        r"the database is slow",
        "The processes of PostgreSQL get almost no CPU time.",
    ),
    "disk-nearly-full": Incident(
        _disk_nearly_full,
        "ClarionDiskNearlyFull",
        r"only \d% of the disk",
        "A large file, `filler`, fills the disk of the data folder.",
    ),
    "server-hangs": Incident(
        _server_hangs,
        "ClarionProcessDown",
        r"a server on \S+ hangs or was killed",
        "One of the two server processes is suspended.",
    ),
    "poison-template": Incident(
        _poison_template,
        "ClarionDeadLettersGrowing",
        rf"divided.*campaign {RECEIPT} of shop",
        "The template of campaign 46 of the project `shop` divides by zero.",
    ),
    "noisy-tenant": Incident(
        _noisy_tenant,
        "ClarionProjectCrowds",
        r"project lottery delays others.* shop",
        "The project `lottery` triggers its campaign thousands of times, and `shop` waits.",
    ),
    "clock-skew": Incident(
        _clock_skew,
        "ClarionClockSkew",
        r"the clock of a dispatcher on \S+ is (299|30\d) s ahead",
        f"The clock of a second dispatcher is {AHEAD.total_seconds():g} seconds ahead.",
    ),
    "receiver-down": Incident(
        _receiver_down,
        "ClarionWebhooksFailing",
        r"the webhook receiver \S+ of project shop fails",
        "The receiver of the webhooks of `shop` refuses connections.",
    ),
}
