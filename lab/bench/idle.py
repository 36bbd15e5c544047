"""How long a lone trigger takes to the SMTP server, and what waiting costs. Part of `bench.delivery`."""

from __future__ import annotations

import asyncio
import dataclasses
import http
import http.client
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from server.up.data_folder import RunDir

from ..product.bench_stand import Clarion, Stand, clarion
from ..product.sink import PIPELINING, Sink, sink
from .figures import percentile, table
from .measure import cpu_of_stand
from .plan import BODY, PATH, BenchError, Plan

__all__ = ["IDLE_TARGET", "Idle", "as_table", "measure"]

IDLE_TARGET = 1.0
"""Percent of a core that dispatcher and PostgreSQL take for it."""
_PAUSES = 0.05, 0.25
_LOST_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Idle:
    """Seconds for each trigger, and the cores that waiting takes, by role."""

    from_204: list[float]
    from_post: list[float]
    without: Mapping[str, float]
    """No dispatcher runs."""
    waiting: Mapping[str, float]
    """It runs, and there is nothing to do."""

    @property
    def polling(self) -> float:
        """What the dispatcher takes, its part of PostgreSQL included, in percent of a core."""
        more = self.waiting.get("postgres", 0.0) - self.without.get("postgres", 0.0)
        return (self.waiting.get("dispatcher", 0.0) + max(0.0, more)) * 100


async def measure(run: RunDir, triggers: int, seconds: float, say: Callable[[str], None]) -> Idle:
    """Run the gateway, a server, PostgreSQL and a dispatcher, and send them one trigger at a time."""
    plan = Plan(
        seconds=1,
        rounds=1,
        warmup=0,
        connections=1,
        processes=1,
        envoy_threads=1,
        loader="builtin",
        data=Path(run.data),
    )
    async with _stand(plan, run) as (product, end):
        say(f"without a dispatcher: {seconds:g} s")
        without = await _cores(product, seconds)
        async with product.dispatching() as stand:
            say(f"with an idle dispatcher: {seconds:g} s")
            await _triggered(product, end, 5)  # warm
            waiting = await _cores(stand, seconds)
            say(f"{triggers} lone triggers")
            times = await _triggered(product, end, triggers)
    return Idle([one for one, _ in times], [one for _, one in times], without, waiting)


@asynccontextmanager
async def _stand(plan: Plan, run: RunDir) -> AsyncIterator[tuple[Clarion, Sink]]:
    """Run what `clarion up` runs; the demo's email goes to a sink instead of the sandbox."""
    async with sink(run.data, "smtp", "smtp", PIPELINING) as end, clarion(plan, run) as product:
        settings = {"TYPE": "smtp", "HOST": "127.0.0.1", "PORT": str(end.port), "SECURITY": "none"}
        env = {f"CLARION_PROVIDERS_SANDBOX_{name}": value for name, value in settings.items()}
        await product.clear()
        yield dataclasses.replace(product, env={**product.env, **env}), end


async def _cores(stand: Stand, seconds: float) -> dict[str, float]:
    """Return the cores that each role uses while nobody asks for anything."""
    before, started = cpu_of_stand(stand), time.monotonic()
    await asyncio.sleep(seconds)
    lasted = time.monotonic() - started
    return {role: (now - before[role]) / lasted for role, now in cpu_of_stand(stand).items()}


async def _triggered(product: Clarion, end: Sink, count: int) -> list[tuple[float, float]]:
    """Return, for each of so many triggers, the seconds to the `DATA` from the 204 and from the POST."""
    connection = http.client.HTTPConnection("127.0.0.1", product.port, timeout=_LOST_SECONDS)
    times = []
    try:
        for _ in range(count):
            done = end.tally.messages
            sent, answered = await asyncio.to_thread(_trigger, connection, product.key)
            await end.reached(done + 1, _LOST_SECONDS)
            times.append((end.tally.data_at - answered, end.tally.data_at - sent))
            await asyncio.sleep(random.uniform(*_PAUSES))  # noqa: S311 - out of step with every timer
    finally:
        connection.close()
    return times


def _trigger(connection: http.client.HTTPConnection, key: str) -> tuple[float, float]:
    """Send one trigger; return when it left and when its 204 came."""
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    sent = time.monotonic()
    connection.request("POST", PATH, BODY, headers)
    answer = connection.getresponse()
    answered = time.monotonic()
    answer.read()
    if answer.status != http.HTTPStatus.NO_CONTENT:
        raise BenchError(f"a good trigger is answered with {answer.status}, not 204")
    return sent, answered


def as_table(idle: Idle) -> str:
    """Return both tables."""
    heads = ["lone trigger", "p50 ms", "p90 ms", "p99 ms", "longest ms"]
    rows = [_times("204 to DATA", idle.from_204), _times("POST to DATA", idle.from_post)]
    roles = list(idle.waiting)
    cores = {"without a dispatcher": idle.without, "with one, idle": idle.waiting}
    used = [
        [name, *(f"{found[role] * 100:.2f}" if role in found else "-" for role in roles)]
        for name, found in cores.items()
    ]
    return f"{table(heads, rows)}\n\n{table(['% of a core', *roles], used)}"


def _times(name: str, seconds: Sequence[float]) -> list[str]:
    cuts = [percentile(seconds, percent) for percent in (50, 90, 99)]
    return [name, *(f"{cut * 1000:.1f}" for cut in (*cuts, max(seconds, default=0.0)))]
