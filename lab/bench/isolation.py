"""`python -m lab.bench.isolation`: how a provider that hangs affects the others. See docs/benchmarks.md.

Its process is stopped: the kernel still accepts connections, but nothing answers. Exit code 2: failure.
"""

from __future__ import annotations

import asyncio
import math
import os
import signal
import statistics
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from server.domain.campaign import Channel

from ..command import HELP, data_option, log, run_command, temporary_run
from ..cpu import CpuMeter
from ..errors import LabError
from ..product import Product, product
from ..report import facts, median_ratio, spread, table, target_met
from ..sink import Sink, sink
from .deliveries import Deliveries, Route, deliveries

__all__ = ["main", "measure"]

TARGET = 0.9
"""Throughput of the others while one hangs, as a share of what it is otherwise."""
ALONE, WITH_A = "B and C alone", "B and C while A hangs"
_A, _B, _C = (Route(number, Channel.EMAIL, (name,)) for number, name in enumerate("abc", start=1))
_FALLBACK = Route(4, Channel.EMAIL, ("a", "b"))
_SLOWEST = 20.0
_SAMPLE_SECONDS = 0.01
_SETTLE_SECONDS = 2.0
_LAST_SECONDS = 60.0
_WAVE_SECONDS = 0.1  # between the groups of triggers in the steady stream


@dataclass(frozen=True, slots=True)
class Sample:
    """One variant in one round."""

    rate: float
    """Messages per second of B and C together."""
    cpu_us: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Move:
    """How the traffic of a campaign with the providers A and B moved. Times are in seconds."""

    to_b: float
    """From the moment A hung to the first message through B."""
    back: float
    """From A's recovery to the first message through it."""
    settled: float
    """From A's recovery to the last message through B."""
    longest: float
    """From a trigger's commit to its delivery, at most."""
    triggers: int
    retried: int
    sent: int


Samples = Mapping[str, Sequence[Sample]]


@click.command(context_settings=HELP)
@click.option("--messages", type=click.IntRange(50, 100_000), default=4000, help="Messages per provider.")
@click.option("--rounds", type=click.IntRange(1, 100), default=5)
@click.option("--connections", type=click.IntRange(1, 200), default=10, help="Connections to each sink.")
@click.option("--timeout", type=click.FloatRange(0.2, 50), default=5.0, help="Timeout of the providers.")
@click.option(
    "--pause",
    "breaker_pause",
    type=click.FloatRange(0.1, 60),
    default=2.0,
    help="First pause of the circuit breakers.",
)
@click.option("--hang", type=click.FloatRange(0.5, 300), default=20.0, help="Seconds that A hangs.")
@click.option("--rate", type=click.IntRange(10, 1000), default=100, help="Triggers per second meanwhile.")
@data_option
def main(**options: Any) -> None:
    """Measure the other providers' throughput while one of three hangs, and how traffic moves."""
    run_command(_run(**options))


async def _run(*, messages: int, rounds: int, hang: float, rate: int, data: Path, **settings: float) -> int:
    load_before = os.getloadavg()[0]
    with temporary_run(data) as run:
        async with product(run) as core:
            samples, move = await measure(core, messages, rounds, hang, rate, **settings)
    click.echo(f"\n{as_text(samples, move, hang, rate)}\n\n{facts(load_before)}")
    return 0


async def measure(
    core: Product,
    messages: int,
    rounds: int,
    hang: float,
    rate: int,
    *,
    settle: float = _SETTLE_SECONDS,
    **settings: float,
) -> tuple[Samples, Move]:
    """Measure throughput with and without a hanging provider, then how traffic moves.

    Args:
        core: the product, without servers and dispatchers.
        messages: messages of each provider in each round.
        rounds: number of rounds.
        hang: seconds that A hangs in the steady stream.
        rate: triggers per second of that stream.
        settle: seconds of that stream before the hang, and after a time as long as the hang.
        settings: `connections`, and other settings of the SMTP providers.
    """
    samples: dict[str, list[Sample]] = {ALONE: [], WITH_A: []}
    async with _three_providers(core, **settings) as (out, sinks):
        for number in range(rounds):
            for variant in sorted(samples, reverse=bool(number % 2)):  # in case the machine slows down
                samples[variant].append(sample := await _sample(out, sinks, variant, messages))
                log(f"round {number + 1}/{rounds}  {variant:<22} {sample.rate:6.0f}/s")
        log(f"A hangs for {hang:g} s in a stream of {rate} triggers per second")
        return samples, await _move(out, sinks, hang, rate, settle)


@asynccontextmanager
async def _three_providers(
    core: Product, *, connections: float, **policy: float
) -> AsyncIterator[tuple[Deliveries, dict[str, Sink]]]:
    async with AsyncExitStack() as stack:
        sinks = {name: await stack.enter_async_context(sink(core.run.data, name, "smtp")) for name in "abc"}
        settings = {"connections": int(connections), **policy}
        providers = {name: {**one.smtp_settings, **settings} for name, one in sinks.items()}
        routes = [_A, _B, _C, _FALLBACK]
        yield await stack.enter_async_context(deliveries(core, providers, routes)), sinks


async def _sample(out: Deliveries, sinks: Mapping[str, Sink], variant: str, messages: int) -> Sample:
    """Deliver a backlog of B's and C's campaigns, with or without one of A's."""
    await out.product.clear()
    goals = [(sinks[name], sinks[name].counts.messages + messages) for name in "bc"]
    longest = 2 * messages / _SLOWEST + 30
    for route in (_B, _C) if variant == ALONE else (_A, _B, _C):
        await out.fill(route, messages)
    hang = _hanging(sinks["a"]) if variant == WITH_A else nullcontext()
    async with out.product.dispatching() as dispatcher:
        with hang:
            try:
                async with asyncio.timeout(longest):
                    first = await out.first_attempts()
                    meter = CpuMeter({"dispatcher": [dispatcher.pid], "postgres": [out.product.postgres.pid]})
                    started = time.monotonic()
                    for one, goal in goals:  # polling the sinks costs PostgreSQL nothing
                        await one.reached(goal, longest)
                    await out.drained(_B, _C)
            except TimeoutError:
                raise LabError("B's and C's messages were not delivered in time") from None
            seconds, used = time.monotonic() - started, meter.used()
    measured = 2 * messages - first
    return Sample(measured / seconds, {role: one * 1e6 / measured for role, one in used.items()})


@contextmanager
def _hanging(provider: Sink) -> Iterator[None]:
    """Stop a provider for the block."""
    provider.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        provider.process.send_signal(signal.SIGCONT)


class _ArrivalTimes:
    """When two sinks received messages, sampled every few milliseconds."""

    def __init__(self, a: Sink, b: Sink) -> None:
        self._sinks = {"a": a, "b": b}
        self._times: dict[str, list[float]] = {"a": [], "b": []}

    async def run(self) -> None:
        """Sample until cancelled."""
        counts = {name: one.counts.messages for name, one in self._sinks.items()}
        while True:
            for name, one in self._sinks.items():
                if one.counts.messages != counts[name]:
                    counts[name] = one.counts.messages
                    self._times[name].append(time.monotonic())
            await asyncio.sleep(_SAMPLE_SECONDS)

    def first_after(self, name: str, moment: float) -> float:
        """Return the seconds from a moment to the sink's first message after it."""
        return next((at - moment for at in self._times[name] if at > moment), math.inf)

    def last_after(self, name: str, moment: float) -> float:
        """Return the seconds from a moment to the sink's last message."""
        return max([at - moment for at in self._times[name] if at > moment], default=0.0)


async def _move(out: Deliveries, sinks: Mapping[str, Sink], hang: float, rate: int, settle: float) -> Move:
    """Stop A in the middle of a steady stream, then continue it."""
    await out.product.clear()
    a, b = sinks["a"], sinks["b"]
    sent_before, arrivals = a.counts.messages + b.counts.messages, _ArrivalTimes(a, b)
    async with out.product.dispatching():
        stream, sampling = (asyncio.create_task(work) for work in (_stream(out, rate), arrivals.run()))
        try:
            await asyncio.sleep(settle)
            hung_at = time.monotonic()
            with _hanging(a):
                await asyncio.sleep(hang)
            back_at = time.monotonic()
            await asyncio.sleep(hang + settle)  # the breaker's pauses grow with A's absence
            await _cancel(stream)
            async with asyncio.timeout(_LAST_SECONDS):
                await out.drained()
        except TimeoutError:
            raise LabError("the triggers of the hanging provider were not delivered in time") from None
        finally:
            await _cancel(stream, sampling)
    return Move(
        to_b=arrivals.first_after("b", hung_at),
        back=arrivals.first_after("a", back_at),
        settled=arrivals.last_after("b", back_at),
        sent=a.counts.messages + b.counts.messages - sent_before,
        **await _recorded(out),
    )


async def _stream(out: Deliveries, rate: int) -> None:
    """Write small groups of triggers until cancelled."""
    while True:
        started = time.monotonic()
        await out.fill(_FALLBACK, max(1, round(rate * _WAVE_SECONDS)))
        await asyncio.sleep(max(0.0, started + _WAVE_SECONDS - time.monotonic()))


async def _cancel(*tasks: asyncio.Task[None]) -> None:
    """Cancel tasks; raise the error of one that failed."""
    for task in tasks:
        task.cancel()
    for error in await asyncio.gather(*tasks, return_exceptions=True):
        if error and not isinstance(error, asyncio.CancelledError):
            raise error


async def _recorded(out: Deliveries) -> dict[str, Any]:
    """Return the number of triggers, that of failed attempts, and the longest time to a delivery."""
    row = await out.pool.fetchrow(
        "SELECT (SELECT count(*) FROM trigger) AS triggers,"
        " count(*) FILTER (WHERE outcome = 'retry') AS retried,"
        " extract(epoch FROM max(started_at - accepted_at)"
        "     FILTER (WHERE outcome = 'delivered'))::float8 AS longest"
        " FROM attempt JOIN trigger ON id = trigger_id"
    )
    return dict(row or {})


def as_text(samples: Samples, move: Move, hang: float, rate: int) -> str:
    """Return both tables and the verdict."""
    return f"{_speeds(samples)}\n\n{_verdict(samples)}\n\n{_moves(move, hang, rate)}"


def _speeds(samples: Samples) -> str:
    roles = ("dispatcher", "postgres")
    rows = []
    for variant, found in samples.items():
        rates = [one.rate for one in found]
        cpu = [f"{statistics.median(one.cpu_us[role] for one in found):.0f}" for role in roles]
        rows.append([variant, f"{statistics.median(rates):.0f}", spread(rates), *cpu])
    return table(["variant", "messages/s", "lowest-highest", *(f"{role} µs" for role in roles)], rows)


def _verdict(samples: Samples) -> str:
    ratio = median_ratio((one.rate for one in samples[WITH_A]), (one.rate for one in samples[ALONE]))
    return f"While A hangs, B and C reach {ratio:.2f} of their rate alone; {target_met(ratio, TARGET)}"


def _moves(move: Move, hang: float, rate: int) -> str:
    rows = [
        ["from the hang to the first message through B", f"{move.to_b:.1f} s"],
        ["from A's recovery to the first message through A", f"{move.back:.1f} s"],
        ["from A's recovery to the last message through B", f"{move.settled:.1f} s"],
        ["longest time from commit to delivery attempt", f"{move.longest:.1f} s"],
        ["failed attempts", str(move.retried)],
        ["triggers, and messages received", f"{move.triggers}, {move.sent}"],
    ]
    return table([f"providers A, B; A hangs for {hang:g} s; {rate} triggers/s", ""], rows)


if __name__ == "__main__":
    main()
