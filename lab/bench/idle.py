"""Measures how soon a single trigger reaches the SMTP server, and what idling costs.

Part of `lab.bench.delivery`.
"""

from __future__ import annotations

import asyncio
import http
import http.client
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..command import log
from ..cpu import CpuMeter
from ..errors import LabError
from ..load import BODY, PATH
from ..product import Deployment, Product
from ..report import percentile, table
from ..sink import PIPELINING, Sink, sink

__all__ = ["IDLE_TARGET", "Idle", "as_table", "measure"]

IDLE_TARGET = 1.0
"""Percent of a core that an idle dispatcher uses, including its share of PostgreSQL."""
_WARMUP_TRIGGERS = 5
_PAUSES = 0.05, 0.25
_LOST_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Idle:
    """Seconds for each trigger, and the cores used while idle, by role."""

    from_204: list[float]
    from_post: list[float]
    without: Mapping[str, float]
    """Without a dispatcher."""
    idle: Mapping[str, float]
    """With a dispatcher that has nothing to do."""

    @property
    def polling(self) -> float:
        """What the dispatcher uses, including its share of PostgreSQL, in percent of a core."""
        more = self.idle.get("postgres", 0.0) - self.without.get("postgres", 0.0)
        return (self.idle.get("dispatcher", 0.0) + max(0.0, more)) * 100


async def measure(core: Product, deployment: Deployment, triggers: int, seconds: float) -> Idle:
    """Measure everything while idle, then send one trigger at a time.

    The demo's emails go to a sink instead of the sandbox.

    Args:
        core: the product, without a dispatcher.
        deployment: its servers and gateway.
        triggers: number of triggers.
        seconds: how long to measure while idle.
    """
    async with sink(core.run.data, "idle", "smtp", PIPELINING) as end:
        await core.clear()
        log(f"without a dispatcher: {seconds:g} s")
        without = await _cores(deployment, seconds)
        async with core.dispatching({"providers": {"sandbox": end.smtp_settings}}) as dispatcher:
            log(f"with an idle dispatcher: {seconds:g} s")
            await _trigger_one_by_one(deployment.port, core.key, end, _WARMUP_TRIGGERS)
            idle = await _cores(deployment.with_dispatcher(dispatcher), seconds)
            log(f"{triggers} single triggers")
            times = await _trigger_one_by_one(deployment.port, core.key, end, triggers)
    return Idle([one for one, _ in times], [one for _, one in times], without, idle)


async def _cores(deployment: Deployment, seconds: float) -> dict[str, float]:
    """Return the cores that each role uses without any calls."""
    meter, started = CpuMeter(deployment.pids), time.monotonic()
    await asyncio.sleep(seconds)
    lasted = time.monotonic() - started
    return {role: used / lasted for role, used in meter.used().items()}


async def _trigger_one_by_one(port: int, key: str, end: Sink, count: int) -> list[tuple[float, float]]:
    """Return, for each trigger, the seconds from the 204 and from the POST to the `DATA`."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_LOST_SECONDS)
    times = []
    try:
        for _ in range(count):
            before = end.counts.messages
            sent, answered = await asyncio.to_thread(_trigger, connection, key)
            await end.reached(before + 1, _LOST_SECONDS)
            times.append((end.counts.last_at - answered, end.counts.last_at - sent))
            await asyncio.sleep(random.uniform(*_PAUSES))  # noqa: S311 - out of step with every timer
    finally:
        connection.close()
    return times


def _trigger(connection: http.client.HTTPConnection, key: str) -> tuple[float, float]:
    """Send one trigger from a thread; return when it was sent and when its 204 arrived."""
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    sent = time.monotonic()
    connection.request("POST", PATH, BODY, headers)
    answer = connection.getresponse()
    answered = time.monotonic()
    answer.read()
    if answer.status != http.HTTPStatus.NO_CONTENT:
        raise LabError(f"a valid trigger was answered with {answer.status} instead of 204")
    return sent, answered


def as_table(idle: Idle) -> str:
    """Return both tables."""
    heads = ["single trigger", "p50 ms", "p90 ms", "p99 ms", "longest ms"]
    rows = [_times("204 to DATA", idle.from_204), _times("POST to DATA", idle.from_post)]
    roles = list(idle.idle)
    cores = {"without a dispatcher": idle.without, "with one, idle": idle.idle}
    used = [
        [name, *(f"{found[role] * 100:.2f}" if role in found else "-" for role in roles)]
        for name, found in cores.items()
    ]
    return f"{table(heads, rows)}\n\n{table(['% of a core', *roles], used)}"


def _times(name: str, seconds: Sequence[float]) -> list[str]:
    cuts = [percentile(seconds, percent) for percent in (50, 90, 99)]
    return [name, *(f"{cut * 1000:.1f}" for cut in (*cuts, max(seconds, default=0.0)))]
