"""`python -m lab.bench.overload`: what accepted callers feel when twice too many call.

See docs/benchmarks.md.

The load is open: requests leave by the clock, whether or not earlier ones were answered, as those of many
independent callers do. A closed loop would slow down with the server and hide what is asked here.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import uvloop

from gateway import GatewayError, GatewaySettings
from server.errors import ClarionError
from server.up.data_folder import RunDir

from ..product.bench_stand import Clarion, Stand, clarion, unlimited
from .cpu import cpu_seconds
from .plan import BODY, PATH, BenchError, Plan

__all__ = ["main"]

MISSING = "h2load is missing: install the Debian package nghttp2-client (apt-get install nghttp2-client)"
TARGET = 3.0
"""At twice the capacity, p99 of the accepted as a multiple of that at half the capacity."""
CALLERS = 100
"""HTTP/2 connections; each may have so many calls open that it never waits for an answer to send the next."""
STREAMS = 100
SETTLING = 1.0
"""Seconds at the start of each variant that are told apart: the limit finds the load in tenths of one."""
ACCEPTED, REFUSED = "204", "503"
HALF, TWICE, TWICE_UNLIMITED = "half the capacity", "twice the capacity", "twice, without the limit"


@dataclass(frozen=True, slots=True)
class Sample:
    """One variant in one round; times in milliseconds, rates per second."""

    offered: float
    accepted: float
    refused: float
    other: int
    p50: float
    p99: float
    refused_p99: float
    first_p99: float
    """Of the accepted, while the limit settled."""
    cpu: dict[str, float]
    """Cores used, by role."""


@dataclass(frozen=True, slots=True)
class Answers:
    """What the loader saw: latencies in milliseconds by HTTP status, once the limit had settled."""

    by_status: dict[str, list[float]]
    settling: dict[str, list[float]]
    """Those of the first second."""
    seconds: float

    def rate(self, status: str) -> float:
        """Return answers of this status per second."""
        return len(self.by_status.get(status, ())) / self.seconds

    def percentile(self, status: str, percent: int) -> float:
        """Return a percentile of the latencies of this status."""
        return _percentile(self.by_status.get(status, []), percent)


class Caller:
    """Runs h2load against one port."""

    def __init__(self, folder: Path, key: str) -> None:
        self._folder = folder
        # h2load takes headers on its command line only, where others can see them: this key is made for the
        # run, is of use on the loopback alone, and dies with the database.
        self._headers = ("-H", f"authorization: Bearer {key}", "-H", "content-type: application/json")
        self._body = folder / "body.json"
        self._body.write_text(BODY)

    async def closed(self, port: int, seconds: float, connections: int) -> Answers:
        """Call with each connection waiting for its answer."""
        return await self._run(port, seconds, "-D", str(round(seconds)), "-c", str(connections), "-m", "1")

    async def open(self, port: int, seconds: float, rate: float) -> Answers:
        """Call `rate` times a second."""
        each = max(1, round(rate / CALLERS))
        calls = each * CALLERS * round(seconds)
        # One connection after the other: begun at once, they would all send at the same moments.
        spread = ("-r", "1", "--rate-period=1ms")
        pace = ("-c", str(CALLERS), "-m", str(STREAMS), f"--rps={each}")
        return await self._run(port, seconds, "-n", str(calls), *pace, *spread)

    async def _run(self, port: int, seconds: float, *options: str) -> Answers:
        log = self._folder / "answers.log"
        log.unlink(missing_ok=True)
        process = await asyncio.create_subprocess_exec(
            *("h2load", f"--log-file={log}", "-d", str(self._body)),
            *(*self._headers, *options, f"http://127.0.0.1:{port}{PATH}"),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(seconds + 30):
                _, errors = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode:
            raise BenchError(f"h2load failed: {errors.decode(errors='replace').strip()[-300:]}")
        return _read(log)


def _percentile(times: Sequence[float], percent: int) -> float:
    return statistics.quantiles(times, n=100)[percent - 1] if len(times) > 1 else 0.0


def _read(log: Path) -> Answers:
    """Read h2load's log: start in µs, status, duration in µs."""
    lines = [line.split("\t") for line in log.read_text().splitlines()]
    if not lines:
        raise BenchError("h2load got no answer")
    starts = [int(start) for start, _, _ in lines]
    settled = min(starts) + SETTLING * 1e6
    by_status: dict[str, list[float]] = {}
    settling: dict[str, list[float]] = {}
    for start, status, micros in lines:
        where = by_status if int(start) >= settled else settling
        where.setdefault(status, []).append(int(micros) / 1000)
    return Answers(by_status, settling, (max(starts) - settled) / 1e6)


async def measure(plan: Plan) -> tuple[float, dict[str, list[Sample]]]:
    """Find the capacity; then let the variants take turns. Return both."""
    plan.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=plan.data) as name, RunDir(Path(name)) as run:
        async with clarion(plan, run) as product, unlimited(plan, product) as open_gate:
            caller = Caller(run.data, product.key)
            await caller.closed(product.port, plan.warmup, plan.connections)
            capacity = await _capacity(plan, caller, product)
            click.echo(f"capacity: {capacity:.0f}/s", err=True)
            variants: dict[str, tuple[Stand, float]] = {
                HALF: (product, capacity / 2),
                TWICE: (product, capacity * 2),
                TWICE_UNLIMITED: (open_gate, capacity * 2),
            }
            samples: dict[str, list[Sample]] = {variant: [] for variant in variants}
            for number in range(plan.rounds):
                for variant, (stand, rate) in variants.items():
                    await product.clear()
                    samples[variant].append(await _sample(caller, stand, rate, plan.seconds))
                    click.echo(f"round {number + 1}/{plan.rounds}  {variant}", err=True)
            return capacity, samples


async def _capacity(plan: Plan, caller: Caller, product: Clarion) -> float:
    rates = []
    for _ in range(3):
        await product.clear()
        answers = await caller.closed(product.port, plan.seconds, plan.connections)
        rates.append(answers.rate(ACCEPTED))
    return statistics.median(rates)


async def _sample(caller: Caller, stand: Stand, rate: float, seconds: float) -> Sample:
    before = {role: cpu_seconds(pids) for role, pids in stand.pids.items()}
    answers = await caller.open(stand.port, seconds, rate)
    used = {role: (cpu_seconds(pids) - before[role]) / seconds for role, pids in stand.pids.items()}
    known = len(answers.by_status.get(ACCEPTED, ())) + len(answers.by_status.get(REFUSED, ()))
    return Sample(
        offered=sum(map(answers.rate, answers.by_status)),
        accepted=answers.rate(ACCEPTED),
        refused=answers.rate(REFUSED),
        other=sum(map(len, answers.by_status.values())) - known,
        p50=answers.percentile(ACCEPTED, 50),
        p99=answers.percentile(ACCEPTED, 99),
        refused_p99=answers.percentile(REFUSED, 99),
        first_p99=_percentile(answers.settling.get(ACCEPTED, []), 99),
        cpu=used,
    )


def _table(samples: dict[str, list[Sample]]) -> str:
    heads = [
        "variant",
        "offered/s",
        "accepted/s",
        "refused/s",
        "other",
        "p50 ms",
        "p99 ms",
        "p99 first second",
        "p99 refused",
    ]
    roles = list(next(iter(samples.values()))[0].cpu)
    lines = [[*heads, *(f"{role} cores" for role in roles)]]
    lines += [_cells(variant, found, roles) for variant, found in samples.items()]
    lines.insert(1, ["---", *["---:"] * (len(lines[0]) - 1)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cells(variant: str, found: Sequence[Sample], roles: Sequence[str]) -> list[str]:
    def median(name: str) -> float:
        return float(statistics.median(getattr(one, name) for one in found))

    rates = [f"{median(name):.0f}" for name in ("offered", "accepted", "refused")]
    times = [f"{median(name):.1f}" for name in ("p50", "p99", "first_p99", "refused_p99")]
    cores = [f"{statistics.median(one.cpu[role] for one in found):.2f}" for role in roles]
    return [variant, *rates, str(sum(one.other for one in found)), *times, *cores]


def _verdict(samples: dict[str, list[Sample]]) -> str:
    ratios = [twice.p99 / half.p99 for half, twice in zip(samples[HALF], samples[TWICE], strict=True)]
    ratio = statistics.median(ratios)
    met = "met" if ratio <= TARGET else "MISSED"
    return f"At twice the capacity, p99 of the accepted is {ratio:.1f} times half; target {TARGET:.0f}: {met}"


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option(
    "--seconds", type=click.IntRange(3, 120), default=6, help="Measured time of one variant in one round."
)
@click.option("--rounds", type=click.IntRange(1, 50), default=5)
@click.option("--connections", type=click.IntRange(1, 200), default=32, help="For finding the capacity.")
@click.option("--processes", type=click.IntRange(1, 16), default=1, help="Server processes.")
@click.option(
    "--data", type=click.Path(path_type=Path), default=Path(".clarion"), help="Where the database lives."
)
def main(**options: Any) -> None:
    """Measure the latency of accepted calls at half and at twice the capacity."""
    try:
        if shutil.which("h2load") is None:
            raise BenchError(MISSING)
        plan = Plan(warmup=3, envoy_threads=GatewaySettings().worker_threads, loader="builtin", **options)
        load_before = os.getloadavg()[0]
        capacity, samples = uvloop.run(measure(plan))
    except (BenchError, ClarionError, GatewayError) as error:
        click.echo(f"bench: {error}", err=True)
        sys.exit(2)
    click.echo(f"capacity {capacity:.0f}/s, load average before {load_before:.2f}\n")
    click.echo(f"{_table(samples)}\n\n{_verdict(samples)}")


if __name__ == "__main__":
    main()
