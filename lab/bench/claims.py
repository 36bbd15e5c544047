"""`python -m lab.bench.claims`: what history and a long transaction do to claims. See docs/benchmarks.md.

Two databases of one PostgreSQL get the same steady traffic, claim by claim in turn. One was empty and stays
tidy. The other remembers deliveries, and a transaction is open in it all the time, so that no dead row can be
cleared away. Exit 0; 2 if something is missing or wrong.
"""

from __future__ import annotations

import asyncio
import os
import random
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from .command import data_option, own_folder, run_bench, say
from .figures import facts, met, percentile, table
from .history import Look, Subject, Taken, subject
from .outgoing import postgres

__all__ = ["main"]

TARGET = 1.2
"""Latency of a claim beside history and a long transaction, as a multiple of that in an empty database."""
SINGLES, MANY = 16, 64
"""Claims of one in each cycle, and the slots of the large claim in it."""
_A_CYCLE = SINGLES + MANY
_PROBED_EVERY, _PROBES = 10.0, 2
"""Seconds between cycles with claims without floors, and how many of these are small: they are slow."""
_WARM_SECONDS = 2.0
_PARTS = 3


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option("--history", type=click.IntRange(0, 100_000_000), default=200_000, help="Delivered triggers.")
@click.option("--held", type=click.IntRange(2, 7200), default=60, help="Seconds of the long transaction.")
@click.option(
    "--rate", type=click.IntRange(20, 2000), default=200, help="Triggers a second in each database."
)
@data_option
def main(**options: Any) -> None:
    """Measure claims of 1 and of 64 in an empty database and in one with a past."""
    sys.exit(run_bench(_measure(**options)))


async def _measure(*, history: int, held: int, rate: int, data: Path) -> int:
    load_before = os.getloadavg()[0]
    with own_folder(data) as run:
        async with (
            postgres(run) as (server, _),
            subject(server, "fresh", "empty") as fresh,
            subject(server, "past", "with a past") as past,
        ):
            await past.remember(history, say)
            say("warming up")
            await _traffic([fresh, past], rate, _WARM_SECONDS)
            for one in (fresh, past):
                one.taken.clear()
            say(f"a transaction stays open for {held} s")
            began = time.monotonic()
            async with past.held_open():
                await _traffic([fresh, past], rate, held)
            sizes = {one.name: await one.entries() for one in (fresh, past)}
    report = (
        _over_time(fresh, past, began, held),
        _looks(past, began, held),
        _verdict(fresh, past, began, held),
    )
    click.echo("\n" + "\n\n".join(report))
    shown = ", ".join(f"{name} {size >> 10} KiB" for name, size in sizes.items())
    click.echo(f"{history} rows of history; {rate} triggers/s in each; index queue_due at the end: {shown}.")
    click.echo(f"\n{facts(load_before)}")
    return 0


async def _traffic(subjects: Sequence[Subject], rate: int, seconds: float) -> None:
    """Let triggers arrive, be claimed and be delivered, at a steady rate."""
    end, next_probe = time.monotonic() + seconds, time.monotonic()
    pause = min(_PROBED_EVERY, seconds / _PARTS / 2)
    while (now := time.monotonic()) < end:
        probe = now >= next_probe
        if probe:
            next_probe = now + pause
        await _cycle(subjects, _A_CYCLE / rate, probe=probe)


async def _cycle(subjects: Sequence[Subject], seconds: float, *, probe: bool) -> None:
    """Insert, then claim all of it in steps that are spread over the time, each database in turn.

    The large claim has no place of its own among the small ones: whatever comes by the clock meets both.
    """
    began = time.monotonic()
    for one in subjects:
        await one.insert(_A_CYCLE)
    steps = [MANY, *[1] * SINGLES]
    random.shuffle(steps)
    for number, slots in enumerate(steps, start=1):
        for one in random.sample(subjects, len(subjects)):
            bare = probe and one is subjects[-1] and (slots == MANY or number <= _PROBES)
            await one.claim(slots, floors=not bare)
            await one.finish()
        await asyncio.sleep(max(0.0, began + seconds * number / len(steps) - time.monotonic()))


def _times(
    taken: Sequence[Taken], slots: int, since: float = 0.0, until: float = float("inf")
) -> list[float]:
    """Return the milliseconds of the claims that a dispatcher makes, in a span of time."""
    return [
        one.seconds * 1000
        for one in taken
        if one.slots == slots and since <= one.at < until and one.look is not Look.NO_FLOOR
    ]


def _over_time(fresh: Subject, past: Subject, began: float, held: float) -> str:
    heads = ["seconds", "claim of", "empty p50 ms", "p99", f"{past.name} p50 ms", "p99", "ratio p50", "p99"]
    rows = []
    for part in range(_PARTS):
        since, until = (began + held * (part + more) / _PARTS for more in (0, 1))
        for slots in (1, MANY):
            pair = [_times(one.taken, slots, since, until) for one in (fresh, past)]
            rows.append([f"{since - began:.0f}-{until - began:.0f}", str(slots), *_cells(*pair)])
    return table(heads, rows)


def _cells(fresh: Sequence[float], past: Sequence[float]) -> list[str]:
    cuts = [[percentile(times, percent) for percent in (50, 99)] for times in (fresh, past)]
    ratios = [mine / theirs if theirs else 0.0 for theirs, mine in zip(*cuts, strict=True)]
    return [f"{figure:.2f}" for figure in (*cuts[0], *cuts[1], *ratios)]


def _looks(past: Subject, began: float, held: float) -> str:
    """Return what claims of the last part cost by where they began to look."""
    rows = []
    for look in Look:
        last = [one for one in past.taken if one.look is look and one.at >= began + held * (1 - 1 / _PARTS)]
        for slots in (1, MANY):
            times = [one.seconds * 1000 for one in last if one.slots == slots]
            if times:
                cuts = [percentile(times, percent) for percent in (50, 99)]
                rows.append([look, str(slots), str(len(times)), *(f"{cut:.2f}" for cut in cuts)])
    return table([f"{past.name}, last part", "claim of", "claims", "p50 ms", "p99 ms"], rows)


def _verdict(fresh: Subject, past: Subject, began: float, held: float) -> str:
    since = began + held * (1 - 1 / _PARTS)
    ratios = []
    for slots in (1, MANY):
        medians = [statistics.median(_times(one.taken, slots, since) or [0.0]) for one in (past, fresh)]
        ratios.append(medians[0] / medians[1] if medians[1] else 0.0)
    shown = " and ".join(f"{ratio:.2f}" for ratio in ratios)
    return (
        f"In the last part a claim of 1 and of {MANY} takes {shown} of what it takes in an empty database; "
        f"{met(max(ratios) <= TARGET, TARGET)}"
    )


if __name__ == "__main__":
    main()
