"""`python -m lab.bench.batch`: triggers per CPU second, in batches and in single calls.

See docs/benchmarks.md. Exit codes: 0; 2 if the run failed.
"""

from __future__ import annotations

import os
import statistics
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import click
import grpc

from ..command import HELP, data_option, log, run_command, temporary_run
from ..cpu import CpuMeter
from ..load import LOADERS, Connection, Loader, make_loader
from ..product import Deployment, Product, product
from ..report import facts, median_ratio, table, target_met
from .batch_load import Insert, RestBatch, Send, Sent, grpc_batch, repeat

__all__ = ["main", "measure"]

SINGLE = "REST, one by one"
BATCHES = "REST, batches of 1,000"
HUNDREDS = "REST, batches of 100"
KEYED = "REST, batches of 1,000 with `request_id`s"
TYPED = "gRPC, batches of 1,000"
BARE = "bare INSERT of 1,000 rows, both tables"
ALONE = "bare INSERT of 1,000 rows, `trigger` alone"
VARIANTS = (SINGLE, HUNDREDS, BATCHES, KEYED, TYPED, BARE, ALONE)

TIMES_SINGLE, OF_BARE = 20.0, 0.5
"""Targets for batches of 1,000 over REST, in triggers per CPU second."""
_LARGE, _SMALL = 1000, 100
_CONNECTIONS = 32
_SENDERS = 2  # one batch is read while the other is committed; the INSERT has two connections as well
_WARMUP_SECONDS = 1.0
_ROLES = ("envoy", "server", "postgres")


@dataclass(frozen=True, slots=True)
class Sample:
    """One variant in one round."""

    sent: Sent
    cpu: dict[str, float]
    """CPU seconds by role, without the load generator."""

    @property
    def cpu_us(self) -> dict[str, float]:
        """CPU microseconds per trigger, by role."""
        return {role: seconds * 1e6 / self.sent.triggers for role, seconds in self.cpu.items()}

    def per_cpu_second(self, *, loader: bool = False) -> float:
        """Return triggers per CPU second, with or without the load generator's."""
        return self.sent.triggers / (sum(self.cpu.values()) + loader * self.sent.loader_cpu)


Samples = Mapping[str, Sequence[Sample]]


@click.command(context_settings=HELP)
@click.option("--rounds", type=click.IntRange(1, 100), default=3)
@click.option(
    "--seconds", type=click.IntRange(1, 60), default=2, help="Seconds to measure each variant in each round."
)
@click.option(
    "--loader", type=click.Choice(LOADERS), default=LOADERS[0], help="The load generator for single calls."
)
@data_option
def main(rounds: int, seconds: int, loader: str, data: Path) -> None:
    """Compare batches with single calls, and with a bare INSERT into the same PostgreSQL."""
    run_command(_run(rounds, seconds, loader, data))


async def _run(rounds: int, seconds: int, loader: str, data: Path) -> int:
    load_before = os.getloadavg()[0]
    with temporary_run(data) as run:
        make_loader(loader, run.data, "", _CONNECTIONS)  # fails before anything is started
        async with product(run) as core, core.serving(threads=1) as deployment:
            samples = await measure(core, deployment, rounds, seconds, loader, warmup=_WARMUP_SECONDS)
    click.echo(f"\n{as_text(samples)}\n\n{facts(load_before)}")
    return 0


async def measure(
    core: Product, deployment: Deployment, rounds: int, seconds: float, loader: str, *, warmup: float = 0.0
) -> Samples:
    """Measure the variants alternately.

    Args:
        core: the product, without a dispatcher.
        deployment: its servers and gateway.
        rounds: number of rounds.
        seconds: how long each variant is measured in each round.
        loader: the load generator for single calls.
        warmup: seconds for each variant before the first round.
    """
    single = make_loader(loader, core.run.data, core.key, _CONNECTIONS)
    samples: dict[str, list[Sample]] = {variant: [] for variant in VARIANTS}
    for variant in VARIANTS if warmup else ():
        await _sample(variant, core, deployment, single, warmup)
    for number in range(rounds):
        for variant, found in samples.items():
            found.append(await _sample(variant, core, deployment, single, seconds))
            log(f"round {number + 1}/{rounds}  {variant:<45} {found[-1].per_cpu_second():8.0f}")
    return samples


async def _sample(
    variant: str, core: Product, deployment: Deployment, single: Loader, seconds: float
) -> Sample:
    """Measure one variant once, with empty tables."""
    await core.clear()
    async with _senders(variant, core, deployment.port) as senders:
        meter = CpuMeter(deployment.pids)
        if senders:
            sent = await repeat(seconds, senders)
        else:
            load = await single.run(deployment.port, seconds)
            sent = Sent(load.answers - load.bad, load.seconds, load.loader_cpu)
        used = meter.used()
    return Sample(sent, used if variant not in {BARE, ALONE} else {"postgres": used["postgres"]})


@asynccontextmanager
async def _senders(variant: str, core: Product, port: int) -> AsyncIterator[Sequence[Send]]:
    """Open the connections of a variant's senders; single calls have none."""
    async with AsyncExitStack() as stack:
        if variant in {HUNDREDS, BATCHES, KEYED}:
            connections = [Connection(port, core.key) for _ in range(_SENDERS)]
            for connection in connections:
                stack.callback(connection.close)
            count = _SMALL if variant == HUNDREDS else _LARGE
            yield [RestBatch(one, count, keys=variant == KEYED).send for one in connections]
        elif variant == TYPED:
            channel = await stack.enter_async_context(grpc.aio.insecure_channel(f"127.0.0.1:{port}"))
            yield [grpc_batch(channel, core.key, _LARGE)] * _SENDERS
        elif variant in {BARE, ALONE}:
            inserts = []
            for _ in range(_SENDERS):
                database = await asyncpg.connect(core.database_url)
                stack.push_async_callback(database.close)
                inserts.append(Insert(database, _LARGE, queue=variant == BARE).send)
            yield inserts
        else:
            yield []


def as_text(samples: Samples) -> str:
    """Return the table and whether the targets were met."""
    cpu_heads = [*(f"{role} µs" for role in _ROLES), "all µs", "loader µs"]
    heads = ["", "triggers per CPU-second", *cpu_heads, "triggers/s"]
    rows = table(heads, (_row(variant, found) for variant, found in samples.items()))
    times, share = _ratio(samples, SINGLE), _ratio(samples, BARE)
    verdict = target_met(share, OF_BARE)
    with_client = _ratio(samples, BARE, loader=True)
    return (
        f"{rows}\n\nPer CPU second, batches of 1,000 over REST accept {times:.1f} times as many triggers"
        f" as single calls; {target_met(times, TIMES_SINGLE)}.\n"
        f"They accept {share:.2f} of what bare INSERTs into both tables write; {verdict}.\n"
        "With all load generators included, such as the client that writes the INSERTs, it is "
        f"{with_client:.2f}."
    )


def _row(variant: str, samples: Sequence[Sample]) -> list[str]:
    cpu = [statistics.median(one.cpu_us.get(role, 0.0) for one in samples) for role in _ROLES]
    loader = statistics.median(one.sent.loader_cpu * 1e6 / one.sent.triggers for one in samples)
    rate = statistics.median(one.sent.triggers / one.sent.seconds for one in samples)
    return [
        variant,
        f"{statistics.median(one.per_cpu_second() for one in samples):,.0f}",
        *(f"{figure:.1f}" if figure else "-" for figure in cpu),
        f"{sum(cpu):.1f}",
        f"{loader:.1f}",
        f"{rate:,.0f}",
    ]


def _ratio(samples: Samples, base: str, *, loader: bool = False) -> float:
    """Return the ratio of batches of 1,000 to a base, in triggers per CPU second."""
    return median_ratio(
        (one.per_cpu_second(loader=loader) for one in samples[BATCHES]),
        (one.per_cpu_second(loader=loader) for one in samples[base]),
    )


if __name__ == "__main__":
    main()
