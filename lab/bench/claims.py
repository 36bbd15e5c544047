"""`python -m lab.bench.claims`: how history and a long transaction affect claims. See docs/benchmarks.md.

Two databases of one PostgreSQL get the same steady traffic, alternating claim by claim. One starts empty. The
other has a history of deliveries, and a transaction is open in it all the time, so that PostgreSQL cannot
remove dead rows. Exit codes: 0; 2 if the run failed.
"""

from __future__ import annotations

import asyncio
import os
import random
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from server.postgres.embedded import EmbeddedPostgres

from ..command import HELP, data_option, log, run_command, temporary_run
from ..product import postgres
from ..report import facts, percentile, table, target_met
from .claim_latency import Database, ScanStart, TimedClaim, database

__all__ = ["main", "measure"]

TARGET = 1.2
"""Latency of a claim with history and a long transaction, as a multiple of that in an empty database."""
SINGLES, MANY = 16, 64
"""Claims of one trigger in each cycle, and the slots of its large claim."""
_CYCLE = SINGLES + MANY
_PROBE_SECONDS, _PROBES = 10.0, 2
"""Seconds between cycles that also claim without floors, and how many small claims do so: they are slow."""
_WARMUP_SECONDS = 2.0
_PARTS = 3


@click.command(context_settings=HELP)
@click.option("--history", type=click.IntRange(0, 100_000_000), default=200_000, help="Delivered triggers.")
@click.option("--held", type=click.IntRange(2, 7200), default=60, help="Seconds of the long transaction.")
@click.option(
    "--rate", type=click.IntRange(20, 2000), default=200, help="Triggers per second in each database."
)
@data_option
def main(**options: Any) -> None:
    """Measure claims of 1 and of 64 triggers in an empty database and in one with history."""
    run_command(_run(**options))


async def _run(*, history: int, held: int, rate: int, data: Path) -> int:
    load_before = os.getloadavg()[0]
    with temporary_run(data) as run:
        async with postgres(run) as (server, _):
            click.echo(f"\n{await measure(server, history, held, rate)}")
    click.echo(f"\n{facts(load_before)}")
    return 0


async def measure(
    server: EmbeddedPostgres, history: int, held: int, rate: int, *, warmup: float = _WARMUP_SECONDS
) -> str:
    """Measure claims in two new databases.

    Args:
        server: where to create the databases.
        history: delivered triggers in one of them.
        held: seconds of the long transaction.
        rate: triggers per second in each.
        warmup: seconds before that.

    Returns:
        The report.
    """
    async with (
        database(server, "fresh", "empty") as fresh,
        database(server, "past", "with history") as past,
    ):
        await past.add_history(history)
        log("warming up")
        await _run_cycles([fresh, past], rate, warmup)
        for one in (fresh, past):
            one.claims.clear()
        log(f"a transaction stays open for {held} s")
        began = time.monotonic()
        async with past.open_transaction():
            await _run_cycles([fresh, past], rate, held)
        sizes = {one.name: await one.index_size() for one in (fresh, past)}
    kib = ", ".join(f"{name} {size >> 10} KiB" for name, size in sizes.items())
    run = f"{history} rows of history; {rate} triggers/s in each; index queue_due at the end: {kib}."
    tables = f"{_over_time(fresh, past, began, held)}\n\n{_by_start(past, began, held)}"
    return f"{tables}\n\n{_verdict(fresh, past, began, held)}\n{run}"


async def _run_cycles(databases: Sequence[Database], rate: int, seconds: float) -> None:
    """Insert, claim and deliver triggers at a steady rate."""
    end, next_probe = time.monotonic() + seconds, time.monotonic()
    pause = min(_PROBE_SECONDS, seconds / _PARTS / 2)
    while (now := time.monotonic()) < end:
        probe = now >= next_probe
        if probe:
            next_probe = now + pause
        await _cycle(databases, _CYCLE / rate, probe=probe)


async def _cycle(databases: Sequence[Database], seconds: float, *, probe: bool) -> None:
    """Insert triggers, then claim all of them in steps spread over the time, alternating databases.

    The order of large and small claims is random, so that periodic activity on the machine affects both.
    """
    began = time.monotonic()
    for one in databases:
        await one.insert(_CYCLE)
    steps = [MANY, *[1] * SINGLES]
    random.shuffle(steps)
    for number, slots in enumerate(steps, start=1):
        for one in random.sample(databases, len(databases)):
            without_floors = probe and one is databases[-1] and (slots == MANY or number <= _PROBES)
            await one.claim(slots, floors=not without_floors)
            await one.finish()
        await asyncio.sleep(max(0.0, began + seconds * number / len(steps) - time.monotonic()))


def _times(
    claims: Sequence[TimedClaim], slots: int, since: float = 0.0, until: float = float("inf")
) -> list[float]:
    """Return the milliseconds of the claims with floors in a span of time."""
    return [
        one.seconds * 1000
        for one in claims
        if one.slots == slots and since <= one.at < until and one.start is not ScanStart.NO_FLOOR
    ]


def _over_time(fresh: Database, past: Database, began: float, held: float) -> str:
    heads = ["seconds", "claim of", "empty p50 ms", "p99", f"{past.name} p50 ms", "p99", "ratio p50", "p99"]
    rows = []
    for part in range(_PARTS):
        since, until = (began + held * (part + more) / _PARTS for more in (0, 1))
        for slots in (1, MANY):
            pair = [_times(one.claims, slots, since, until) for one in (fresh, past)]
            rows.append([f"{since - began:.0f}-{until - began:.0f}", str(slots), *_cells(*pair)])
    return table(heads, rows)


def _cells(fresh: Sequence[float], past: Sequence[float]) -> list[str]:
    cuts = [[percentile(times, percent) for percent in (50, 99)] for times in (fresh, past)]
    ratios = [mine / theirs if theirs else 0.0 for theirs, mine in zip(*cuts, strict=True)]
    return [f"{figure:.2f}" for figure in (*cuts[0], *cuts[1], *ratios)]


def _by_start(past: Database, began: float, held: float) -> str:
    """Return the latency of the last part's claims by where they started to scan."""
    last = [one for one in past.claims if one.at >= began + held * (1 - 1 / _PARTS)]
    rows = []
    for start in ScanStart:
        for slots in (1, MANY):
            times = [one.seconds * 1000 for one in last if one.start is start and one.slots == slots]
            if times:
                cuts = [percentile(times, percent) for percent in (50, 99)]
                rows.append([start, str(slots), str(len(times)), *(f"{cut:.2f}" for cut in cuts)])
    return table([f"{past.name}, last part", "claim of", "claims", "p50 ms", "p99 ms"], rows)


def _verdict(fresh: Database, past: Database, began: float, held: float) -> str:
    since = began + held * (1 - 1 / _PARTS)
    ratios = []
    for slots in (1, MANY):
        medians = [statistics.median(_times(one.claims, slots, since) or [0.0]) for one in (past, fresh)]
        ratios.append(medians[0] / medians[1] if medians[1] else 0.0)
    figures = " and ".join(f"{ratio:.2f}" for ratio in ratios)
    return (
        f"In the last part, claims of 1 and of {MANY} take {figures} times as long as in an empty database; "
        f"{target_met(max(ratios), TARGET, at_most=True)}"
    )


if __name__ == "__main__":
    main()
