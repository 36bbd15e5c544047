"""`python -m lab.bench.batch`: triggers for each CPU-second, in batches and alone. See docs/benchmarks.md."""

from __future__ import annotations

import os
import statistics
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import click
import grpc

from server.up.data_folder import RunDir

from ..product.bench_stand import Clarion, clarion
from .batch_load import Inserts, Send, Sent, by_grpc, by_rest, until
from .command import data_option, own_folder, run_bench, say
from .figures import facts, met, table
from .load import make_loader
from .measure import cpu_of_stand
from .plan import Plan

__all__ = ["main"]

SINGLE = "REST, one by one"
BATCHES = "REST, batches of 1,000"
HUNDREDS = "REST, batches of 100"
KEYED = "REST, batches of 1,000 with `request_id`s"
TYPED = "gRPC, batches of 1,000"
BARE = "bare INSERT of 1,000 rows, both tables"
ALONE = "bare INSERT of 1,000 rows, `trigger` alone"
VARIANTS = (SINGLE, HUNDREDS, BATCHES, KEYED, TYPED, BARE, ALONE)

TIMES_SINGLE, OF_BARE = 20.0, 0.5
"""What batches of 1,000 by REST are to reach, in triggers for each CPU-second."""
_LARGE, _SMALL = 1000, 100
_SENDERS = 2  # one batch is read while the other is committed; the INSERT, too, has two connections
_ROLES = ("envoy", "server", "postgres")


@dataclass(frozen=True, slots=True)
class Sample:
    """One variant in one round."""

    sent: Sent
    cpu: dict[str, float]
    """CPU seconds by role, without the loader."""

    @property
    def each(self) -> dict[str, float]:
        """CPU microseconds for each trigger, by role."""
        return {role: seconds * 1e6 / self.sent.triggers for role, seconds in self.cpu.items()}

    def per_second(self, *, loader: bool = False) -> float:
        """Return triggers for each CPU-second, with or without the loader's."""
        return self.sent.triggers / (sum(self.cpu.values()) + loader * self.sent.loader_cpu)


Samples = dict[str, list[Sample]]


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option("--rounds", type=click.IntRange(1, 100), default=3)
@click.option("--seconds", type=click.IntRange(1, 60), default=2, help="Of one variant in one round.")
@data_option
def main(rounds: int, seconds: int, data: Path) -> None:
    """Compare batches with single calls, and with a bare INSERT into the same PostgreSQL."""
    sys.exit(run_bench(_run(rounds, seconds, data)))


async def _run(rounds: int, seconds: int, data: Path) -> int:
    plan = Plan(
        seconds=seconds, rounds=rounds, warmup=1, connections=32, processes=1, envoy_threads=1,
        loader="wrk", data=data,
    )  # fmt: skip
    before = os.getloadavg()[0]
    samples: Samples = {variant: [] for variant in VARIANTS}
    with own_folder(data) as run:
        say("starting PostgreSQL, the server and Envoy")
        async with clarion(plan, run) as product:
            for variant in VARIANTS:
                await _sample(variant, plan, run, product, plan.warmup)
            for number in range(rounds):
                for variant in VARIANTS:
                    samples[variant].append(await _sample(variant, plan, run, product, seconds))
                    say(
                        f"round {number + 1}/{rounds}  {variant:<45} {samples[variant][-1].per_second():8.0f}"
                    )
    return _report(samples, facts(before))


async def _sample(variant: str, plan: Plan, run: RunDir, product: Clarion, seconds: float) -> Sample:
    """Measure one variant once, in empty tables."""
    await product.clear()
    async with _senders(variant, product) as senders:
        before = cpu_of_stand(product)
        sent = await (until(seconds, *senders) if senders else _single(plan, run, product, seconds))
        used = {role: now - before[role] for role, now in cpu_of_stand(product).items()}
    return Sample(sent, used if variant not in {BARE, ALONE} else {"postgres": used["postgres"]})


async def _single(plan: Plan, run: RunDir, product: Clarion, seconds: float) -> Sent:
    load = await make_loader(plan, run.data, product.key).run(product.port, seconds)
    return Sent(load.answers - load.bad, load.seconds, load.loader_cpu)


@asynccontextmanager
async def _senders(variant: str, product: Clarion) -> AsyncIterator[Sequence[Send]]:
    """Give what sends a variant's batches; nothing for single calls."""
    async with AsyncExitStack() as stack:
        if variant in {HUNDREDS, BATCHES, KEYED}:
            count = _SMALL if variant == HUNDREDS else _LARGE
            batches = by_rest(product.port, product.key, count, keys=variant == KEYED, senders=_SENDERS)
            for one in batches:
                stack.callback(one.close)
            yield [one.send for one in batches]
        elif variant == TYPED:
            channel = await stack.enter_async_context(grpc.aio.insecure_channel(f"127.0.0.1:{product.port}"))
            yield [by_grpc(channel, product.key, _LARGE)] * _SENDERS
        elif variant in {BARE, ALONE}:
            connections = [await asyncpg.connect(product.url) for _ in range(_SENDERS)]
            for connection in connections:
                stack.push_async_callback(connection.close)
            yield [Inserts(one, _LARGE, queue=variant == BARE).send for one in connections]
        else:
            yield []


def _report(samples: Samples, machine: str) -> int:
    """Print the table and how the targets were met; return the exit code."""
    cpu_heads = [*(f"{role} µs" for role in _ROLES), "all µs", "loader µs"]
    heads = ["", "triggers per CPU-second", *cpu_heads, "triggers/s"]
    click.echo(table(heads, (_row(variant, samples[variant]) for variant in VARIANTS)))
    times, share = _ratio(samples, SINGLE), _ratio(samples, BARE)
    with_client = _ratio(samples, BARE, loader=True)
    click.echo(
        f"\nFor each CPU-second, batches of 1,000 by REST take {times:.1f} times the triggers of single "
        f"calls; {met(times >= TIMES_SINGLE, TIMES_SINGLE)}.\n"
        f"They take {share:.2f} of what PostgreSQL alone takes by bare INSERTs into both tables; "
        f"{met(share >= OF_BARE, OF_BARE)}.\n"
        f"With all loaders counted, also the client that writes the INSERTs, it is {with_client:.2f}."
        f"\n\n{machine}"
    )
    return 0


def _row(variant: str, samples: Sequence[Sample]) -> list[str]:
    each = [statistics.median(one.each.get(role, 0.0) for one in samples) for role in _ROLES]
    loader = statistics.median(one.sent.loader_cpu * 1e6 / one.sent.triggers for one in samples)
    rate = statistics.median(one.sent.triggers / one.sent.seconds for one in samples)
    return [
        variant,
        f"{statistics.median(one.per_second() for one in samples):,.0f}",
        *(f"{figure:.1f}" if figure else "-" for figure in each),
        f"{sum(each):.1f}",
        f"{loader:.1f}",
        f"{rate:,.0f}",
    ]


def _ratio(samples: Samples, base: str, *, loader: bool = False) -> float:
    """Return the median of the rounds' ratios of large batches to a base: a round's noise meets both."""
    pairs = zip(samples[BATCHES], samples[base], strict=True)
    return statistics.median(
        one.per_second(loader=loader) / other.per_second(loader=loader) for one, other in pairs
    )


if __name__ == "__main__":
    main()
