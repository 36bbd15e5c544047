"""`python -m lab.bench.isolation`: what a provider that hangs does to the others. See docs/benchmarks.md.

A provider hangs as real ones do: its process is stopped, so the kernel still takes connections for it, and
nobody answers on them. Exit 0; 2 if something is missing or wrong.
"""

from __future__ import annotations

import asyncio
import math
import os
import signal
import statistics
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from server.domain.campaign import Channel
from server.up.data_folder import RunDir

from ..product.sink import Sink, sink
from .command import data_option, own_folder, run_bench, say
from .figures import cpu_of, facts, met, table, used
from .outgoing import Outgoing, Road, outgoing, smtp
from .plan import BenchError

__all__ = ["main"]

TARGET = 0.9
"""Throughput of the others while one hangs, as a share of what it is without it."""
ALONE, BESIDE = "B and C alone", "B and C while A hangs"
_A, _B, _C = (Road(number, Channel.EMAIL, (name,)) for number, name in enumerate("abc", start=1))
_FALLS_BACK = Road(4, Channel.EMAIL, ("a", "b"))
_SLOWEST = 20.0
_SAMPLED_EVERY = 0.01
_SETTLING = 2.0
_LAST_SECONDS = 60.0
_WAVE = 0.1
"""Seconds between the triggers that come together in the steady stream."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One variant in one round."""

    rate: float
    """Messages of B and C together, a second."""
    cpu_us: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Move:
    """How the traffic of a campaign with the providers A and B moved; seconds."""

    to_b: float
    """From the moment at which A hung to the first message through B."""
    back: float
    """From A's return to the first message through it."""
    settled: float
    """From A's return to the last message through B."""
    longest: float
    """From the trigger's commit to its delivery, at worst."""
    triggers: int
    retried: int
    sent: int


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option("--messages", type=click.IntRange(50, 100_000), default=4000, help="Of each provider.")
@click.option("--rounds", type=click.IntRange(1, 100), default=5)
@click.option("--connections", type=click.IntRange(1, 200), default=10, help="To each sink.")
@click.option("--timeout", type=click.FloatRange(0.2, 50), default=5.0, help="The providers' timeout.")
@click.option(
    "--pause", "breaker_pause", type=click.FloatRange(0.1, 60), default=2.0, help="The breakers' first pause."
)
@click.option("--hang", type=click.FloatRange(0.5, 300), default=20.0, help="Seconds that A hangs.")
@click.option("--rate", type=click.IntRange(10, 1000), default=100, help="Triggers a second meanwhile.")
@data_option
def main(**options: Any) -> None:
    """Measure the others' throughput while one of three providers hangs, and how traffic moves."""
    sys.exit(run_bench(_measure(**options)))


async def _measure(
    *, messages: int, rounds: int, hang: float, rate: int, data: Path, **settings: float
) -> int:
    load_before = os.getloadavg()[0]
    turns: dict[str, list[Turn]] = {ALONE: [], BESIDE: []}
    with own_folder(data) as run:
        async with _stand(run, **settings) as (out, sinks):
            for number in range(rounds):
                for variant in sorted(turns, reverse=bool(number % 2)):  # the machine may be slowing down
                    turns[variant].append(turn := await _turn(out, sinks, variant, messages))
                    say(f"round {number + 1}/{rounds}  {variant:<22} {turn.rate:6.0f}/s")
            say(f"A hangs for {hang:g} s in a stream of {rate} triggers a second")
            move = await _move(out, sinks, hang, rate)
    click.echo(
        f"\n{_speeds(turns)}\n\n{_verdict(turns)}\n\n{_told(move, hang, rate)}\n\n{facts(load_before)}"
    )
    return 0


@asynccontextmanager
async def _stand(
    run: RunDir, *, connections: float, **policy: float
) -> AsyncIterator[tuple[Outgoing, dict[str, Sink]]]:
    async with AsyncExitStack() as stack:
        sinks = {name: await stack.enter_async_context(sink(run.data, name, "smtp")) for name in "abc"}
        providers = {name: smtp(one, int(connections), **policy) for name, one in sinks.items()}
        roads = [_A, _B, _C, _FALLS_BACK]
        yield await stack.enter_async_context(outgoing(run, providers, roads)), sinks


async def _turn(out: Outgoing, sinks: Mapping[str, Sink], variant: str, messages: int) -> Turn:
    """Deliver a backlog of B's and C's campaigns; beside it lies one of A's, or none."""
    await out.clear()
    most, done = 2 * messages / _SLOWEST + 30, [(sinks[name], sinks[name].tally.messages) for name in "bc"]
    for road in (_B, _C) if variant == ALONE else (_A, _B, _C):
        await out.fill(road, messages)
    async with out.dispatching() as dispatcher:
        with _hanging(sinks["a"], variant == BESIDE):
            pids = {"dispatcher": dispatcher.pid, "postgres": out.postgres}
            try:
                async with asyncio.timeout(most):
                    first = await out.begun()
                    before, started = cpu_of(pids), time.monotonic()
                    for one, before_it in done:  # it costs PostgreSQL nothing to look there
                        await one.reached(before_it + messages, most)
                    await out.ended(_B.lane, _C.lane)
            except TimeoutError:
                raise BenchError("B's and C's messages were not delivered in time") from None
            seconds, cpu = time.monotonic() - started, used(before, cpu_of(pids))
    measured = 2 * messages - first
    return Turn(measured / seconds, {role: one * 1e6 / measured for role, one in cpu.items()})


@contextmanager
def _hanging(provider: Sink, hangs: bool = True) -> Iterator[None]:  # noqa: FBT001, FBT002
    """Let a provider hang for the block."""
    if hangs:
        provider.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        provider.process.send_signal(signal.SIGCONT)


class _Watch:
    """When each of two sinks took messages: the sums are looked at every few milliseconds."""

    def __init__(self, a: Sink, b: Sink) -> None:
        self._sinks = {"a": a, "b": b}
        self._seen: dict[str, list[float]] = {"a": [], "b": []}

    async def run(self) -> None:
        """Watch until cancelled."""
        counts = {name: one.tally.messages for name, one in self._sinks.items()}
        while True:
            for name, one in self._sinks.items():
                if one.tally.messages != counts[name]:
                    counts[name] = one.tally.messages
                    self._seen[name].append(time.monotonic())
            await asyncio.sleep(_SAMPLED_EVERY)

    def first_after(self, name: str, moment: float) -> float:
        """Return the seconds from a moment to the sink's first message after it."""
        return next((at - moment for at in self._seen[name] if at > moment), math.inf)

    def last_after(self, name: str, moment: float) -> float:
        """Return the seconds from a moment to the sink's last message."""
        return max([at - moment for at in self._seen[name] if at > moment], default=0.0)


async def _move(out: Outgoing, sinks: Mapping[str, Sink], hang: float, rate: int) -> Move:
    """Let A hang in the middle of a steady stream, and return."""
    await out.clear()
    a, b = sinks["a"], sinks["b"]
    sent_before, watch = a.tally.messages + b.tally.messages, _Watch(a, b)
    async with out.dispatching():
        streaming, watching = (asyncio.create_task(work) for work in (_stream(out, rate), watch.run()))
        try:
            await asyncio.sleep(_SETTLING)
            hung_at = time.monotonic()
            with _hanging(a):
                await asyncio.sleep(hang)
            back_at = time.monotonic()
            await asyncio.sleep(hang + _SETTLING)  # the breaker's pauses grow with the time that A was away
            await _ended(streaming)
            async with asyncio.timeout(_LAST_SECONDS):
                await out.ended()
        except TimeoutError:
            raise BenchError("what had met the provider that hung was not delivered in time") from None
        finally:
            await _ended(streaming, watching)
    return Move(
        to_b=watch.first_after("b", hung_at),
        back=watch.first_after("a", back_at),
        settled=watch.last_after("b", back_at),
        sent=a.tally.messages + b.tally.messages - sent_before,
        **await _on_record(out),
    )


async def _stream(out: Outgoing, rate: int) -> None:
    """Write triggers in small waves, until cancelled."""
    while True:
        started = time.monotonic()
        await out.fill(_FALLS_BACK, max(1, round(rate * _WAVE)))
        await asyncio.sleep(max(0.0, started + _WAVE - time.monotonic()))


async def _ended(*tasks: asyncio.Task[None]) -> None:
    """End tasks that go on for ever; raise what one failed with."""
    for task in tasks:
        task.cancel()
    for error in await asyncio.gather(*tasks, return_exceptions=True):
        if error and not isinstance(error, asyncio.CancelledError):
            raise error


async def _on_record(out: Outgoing) -> dict[str, Any]:
    """Return how many triggers there were, how many attempts failed, and the longest way."""
    row = await out.pool.fetchrow(
        "SELECT (SELECT count(*) FROM trigger) AS triggers,"
        " count(*) FILTER (WHERE outcome = 'retry') AS retried,"
        " extract(epoch FROM max(started_at - accepted_at)"
        "     FILTER (WHERE outcome = 'delivered'))::float8 AS longest"
        " FROM attempt JOIN trigger ON id = trigger_id"
    )
    return dict(row or {})


def _speeds(turns: Mapping[str, Sequence[Turn]]) -> str:
    roles = ("dispatcher", "postgres")
    rows = []
    for variant, found in turns.items():
        rates = [turn.rate for turn in found]
        spread = f"{min(rates):.0f}-{max(rates):.0f}"
        cpu = [f"{statistics.median(turn.cpu_us[role] for turn in found):.0f}" for role in roles]
        rows.append([variant, f"{statistics.median(rates):.0f}", spread, *cpu])
    return table(["variant", "messages/s", "lowest-highest", *(f"{role} µs" for role in roles)], rows)


def _verdict(turns: Mapping[str, Sequence[Turn]]) -> str:
    pairs = zip(turns[BESIDE], turns[ALONE], strict=True)
    ratio = statistics.median(beside.rate / alone.rate for beside, alone in pairs)
    return f"While A hangs, B and C reach {ratio:.2f} of what they do alone; {met(ratio >= TARGET, TARGET)}"


def _told(move: Move, hang: float, rate: int) -> str:
    rows = [
        ["from the hang to the first message through B", f"{move.to_b:.1f} s"],
        ["from A's return to the first message through A", f"{move.back:.1f} s"],
        ["from A's return to the last message through B", f"{move.settled:.1f} s"],
        ["longest wait of a trigger until its delivery began", f"{move.longest:.1f} s"],
        ["attempts that failed", str(move.retried)],
        ["triggers, and messages that the sinks took", f"{move.triggers}, {move.sent}"],
    ]
    return table([f"providers A, B; A hangs for {hang:g} s; {rate} triggers/s", ""], rows)


if __name__ == "__main__":
    main()
