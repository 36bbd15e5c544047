"""`python -m lab.bench.overload`: the latency of accepted calls at twice the capacity.

See docs/benchmarks.md. Exit codes: 0; 2 if the run failed.
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from ..command import HELP, data_option, log, run_command, temporary_run
from ..cpu import CpuMeter
from ..h2load import H2Load
from ..product import NO_LIMITS, Deployment, Product, product
from ..report import median_ratio, percentile, table, target_met

__all__ = ["main", "measure"]

TARGET = 3.0
"""At twice the capacity, p99 of accepted calls as a multiple of that at half the capacity."""
WARMUP_SECONDS = 3
ACCEPTED, REFUSED = "204", "503"
HALF, TWICE, TWICE_UNLIMITED = "half the capacity", "twice the capacity", "twice, without the limit"
_HEADS = ("offered/s", "accepted/s", "refused/s", "other")
_TIMES = ("p50 ms", "p99 ms", "p99 first second", "p99 refused")


@dataclass(frozen=True, slots=True)
class Sample:
    """One variant in one round; times in milliseconds, rates per second."""

    offered: float
    accepted: float
    refused: float
    other: int
    p50: float
    p99: float
    first_p99: float
    """Of accepted calls, while the limit settled."""
    refused_p99: float
    cpu: dict[str, float]
    """Cores used, by role."""


Samples = Mapping[str, Sequence[Sample]]


async def measure(
    core: Product, limited: Deployment, *, seconds: float, rounds: int, connections: int
) -> tuple[float, Samples]:
    """Find the capacity, then measure the variants alternately.

    Args:
        core: the product, without a dispatcher.
        limited: its servers and a gateway with limits.
        seconds: how long each variant is measured in each round.
        rounds: number of rounds.
        connections: connections for finding the capacity.

    Returns:
        The capacity in triggers per second, and the samples by variant.
    """
    load = H2Load(core.run.data, core.key)
    async with core.another_gateway(limited, **NO_LIMITS) as unlimited:
        await load.closed(limited.port, WARMUP_SECONDS, connections)
        rates = []
        for _ in range(3):
            await core.clear()
            rates.append((await load.closed(limited.port, seconds, connections)).rate(ACCEPTED))
        capacity = statistics.median(rates)
        log(f"capacity: {capacity:.0f}/s")
        variants: dict[str, tuple[Deployment, float]] = {
            HALF: (limited, capacity / 2),
            TWICE: (limited, capacity * 2),
            TWICE_UNLIMITED: (unlimited, capacity * 2),
        }
        samples: dict[str, list[Sample]] = {variant: [] for variant in variants}
        for number in range(rounds):
            for variant, (target, rate) in variants.items():
                await core.clear()
                samples[variant].append(await _sample(load, target, rate, seconds))
                log(f"round {number + 1}/{rounds}  {variant}")
        return capacity, samples


async def _sample(load: H2Load, target: Deployment, rate: float, seconds: float) -> Sample:
    meter = CpuMeter(target.pids)
    answers = await load.open(target.port, seconds, rate)
    cores = {role: used / seconds for role, used in meter.used().items()}
    known = len(answers.by_status.get(ACCEPTED, ())) + len(answers.by_status.get(REFUSED, ()))
    return Sample(
        offered=sum(map(answers.rate, answers.by_status)),
        accepted=answers.rate(ACCEPTED),
        refused=answers.rate(REFUSED),
        other=sum(map(len, answers.by_status.values())) - known,
        p50=answers.latency(ACCEPTED, 50),
        p99=answers.latency(ACCEPTED, 99),
        first_p99=percentile(answers.settling.get(ACCEPTED, []), 99),
        refused_p99=answers.latency(REFUSED, 99),
        cpu=cores,
    )


def as_text(samples: Samples) -> str:
    """Return the table and the verdict."""
    roles = list(next(iter(samples.values()))[0].cpu)
    heads = ["variant", *_HEADS, *_TIMES, *(f"{role} cores" for role in roles)]
    rows = (_cells(variant, found, roles) for variant, found in samples.items())
    ratio = median_ratio((one.p99 for one in samples[TWICE]), (one.p99 for one in samples[HALF]))
    return (
        f"{table(heads, rows)}\n\nAt twice the capacity, p99 of accepted calls is {ratio:.1f} times that at "
        f"half the capacity; {target_met(ratio, TARGET, at_most=True)}"
    )


def _cells(variant: str, found: Sequence[Sample], roles: Sequence[str]) -> list[str]:
    def median(name: str) -> float:
        return float(statistics.median(getattr(one, name) for one in found))

    rates = [f"{median(name):.0f}" for name in ("offered", "accepted", "refused")]
    times = [f"{median(name):.1f}" for name in ("p50", "p99", "first_p99", "refused_p99")]
    cores = [f"{statistics.median(one.cpu[role] for one in found):.2f}" for role in roles]
    return [variant, *rates, str(sum(one.other for one in found)), *times, *cores]


@click.command(context_settings=HELP)
@click.option(
    "--seconds", type=click.IntRange(3, 120), default=6, help="Seconds to measure each variant in each round."
)
@click.option("--rounds", type=click.IntRange(1, 50), default=5)
@click.option("--connections", type=click.IntRange(1, 200), default=32, help="For finding the capacity.")
@click.option("--processes", type=click.IntRange(1, 16), default=1, help="Server processes.")
@data_option
def main(data: Path, processes: int, **options: Any) -> None:
    """Measure the latency of accepted calls at half and at twice the capacity."""
    run_command(_run(data, processes, **options))


async def _run(data: Path, servers: int, **options: Any) -> int:
    load_before = os.getloadavg()[0]
    with temporary_run(data) as run:
        H2Load(run.data, "")  # fails before anything is started
        async with product(run) as core, core.serving(servers=servers) as limited:
            capacity, samples = await measure(core, limited, **options)
    click.echo(f"capacity {capacity:.0f}/s, load average before {load_before:.2f}\n\n{as_text(samples)}")
    return 0


if __name__ == "__main__":
    main()
