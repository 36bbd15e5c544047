"""`python -m lab.bench.history`: what up to 100 million old triggers cost, and deleting them under load.

Two databases of one PostgreSQL get the same traffic, alternating call by call. One is new. The other gets a
partition for each part of 390 days, and ever more delivered triggers in them. Then its oldest partitions are
dropped while triggers are accepted. Exit codes: 0; 2 if the run failed.
See docs/benchmarks.md.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import asyncpg
import click

from server.store.partitioning import MOST_PARTITIONS, Partitions
from server.store.pool import open_pool

from ..command import HELP, data_option, log, run_command, temporary_run
from ..plot import line_chart
from ..product import Product, product
from ..report import facts, table, target_met
from . import dropping
from .claim_latency import create_database
from .history_costs import OPERATIONS, side
from .history_store import (
    add_campaigns,
    add_rows,
    begin_in_the_past,
    partitions_and_size,
    past_partitions,
)

__all__ = ["Step", "main"]

TARGET = 1.2
"""PostgreSQL's CPU for an operation with history, as a multiple of that in a new database."""
_DAYS = 390
_MILLION = 1_000_000
_LARGE = 10 * _MILLION
"""Triggers of each of the oldest partitions; the others have a million together."""
_WARMUP_ROUNDS = 10


@dataclass(frozen=True, slots=True)
class Step:
    """One amount of history."""

    rows: int
    partitions: int
    size: int
    """Bytes of the database."""
    cpu: Mapping[str, tuple[float, float]]
    """The medians of PostgreSQL's CPU in both databases, in microseconds, by operation."""
    elapsed: Mapping[str, tuple[float, float]]

    def ratio(self, operation: str) -> float:
        """Return the CPU with history as a multiple of that without."""
        without, with_history = self.cpu[operation]
        return with_history / without


@click.command(context_settings=HELP)
@click.option(
    "--large", type=click.IntRange(0, 10), default=3, help="Partitions of 10 million triggers; 4.5 GB each."
)
@click.option("--rows", type=click.IntRange(100), default=_LARGE, help="Triggers in each of these.")
@click.option("--few", type=click.IntRange(100), default=_MILLION, help="Triggers in the other partitions.")
@click.option("--rounds", type=click.IntRange(3, 10_000), default=200, help="Of each operation.")
@click.option("--rate", type=click.IntRange(1, 5000), default=200, help="Triggers per second during drops.")
@click.option("--seconds", type=click.IntRange(3, 600), default=20, help="With a drop, and without one.")
@click.option("--plot", type=click.Path(path_type=Path), help="Write a chart of the ratios to this SVG file.")
@data_option
def main(plot: Path | None, data: Path, **options: int) -> None:
    """Measure accepting, claiming, status and lists with history, and drop its oldest partitions."""
    run_command(_run(_Plan(**options), plot, data))


@dataclass(frozen=True, slots=True)
class _Plan:
    large: int
    rows: int
    few: int
    rounds: int
    rate: int
    seconds: int


async def _run(plan: _Plan, plot: Path | None, data: Path) -> int:
    load_before = os.getloadavg()[0]
    with temporary_run(data) as run:
        async with product(run) as core:
            steps = await _grow(core, plan)
            if plot:
                await asyncio.to_thread(plot.write_text, chart(steps))
            drops = await dropping.measure_drops(core, plan.large, plan.rate, plan.seconds)
    if drops:
        click.echo(f"{dropping.as_text(drops)}\n")
    click.echo(f"{plan.rounds} rounds. {facts(load_before)}")
    return 0


async def _grow(core: Product, plan: _Plan) -> list[Step]:
    """Add ever more history, and measure after each addition."""
    urls = [await create_database(core.database_url, "new"), core.database_url]
    steps = []
    async with _connected(urls[0]) as fresh, _connected(urls[1]) as past:
        projects = [await add_campaigns(one) for one in (fresh, past)]
        await begin_in_the_past(past, days=_DAYS, width=-(-_DAYS // MOST_PARTITIONS))
        pool = await open_pool(urls[0], size=1, connect_timeout=10)
        await Partitions(pool, _DAYS).add()
        pool.terminate()
        old = await past_partitions(past)
        large, others = old[: plan.large], old[plan.large :]
        rows = 0
        for partitions, each in [(others, plan.few // len(others)), *(([one], plan.rows) for one in large)]:
            await add_rows(past, projects[1], partitions, each)
            rows += each * len(partitions)
            cpu, elapsed = await _measured(urls, projects, plan.rounds)
            steps.append(Step(rows, *await partitions_and_size(past), cpu, elapsed))
            log(as_text(steps))
    return steps


async def _measured(
    urls: Sequence[str], projects: Sequence[int], rounds: int
) -> tuple[dict[str, tuple[float, float]], dict[str, tuple[float, float]]]:
    """Return the medians of CPU and of elapsed time in both databases, by operation."""
    async with side(urls[0], projects[0]) as fresh, side(urls[1], projects[1]) as past:
        for number in range(_WARMUP_ROUNDS + rounds):
            for one in (fresh, past) if number % 2 else (past, fresh):
                await one.round()
            if number == _WARMUP_ROUNDS:
                fresh.measured.clear()
                past.measured.clear()
        cpu, elapsed = {}, {}
        for name in OPERATIONS:
            both = fresh.measured[name], past.measured[name]
            cpu[name] = (median(both[0].cpu), median(both[1].cpu))
            elapsed[name] = (median(both[0].elapsed), median(both[1].elapsed))
        return cpu, elapsed


@asynccontextmanager
async def _connected(url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


def as_text(steps: Sequence[Step]) -> str:
    """Return the report."""
    heads = ["PostgreSQL's CPU", "new, µs", *(_label(step.rows) for step in steps)]
    heads += [f"ratio at {_label(step.rows)}" for step in steps] + ["ratio of elapsed time"]
    rows = []
    for name in OPERATIONS:
        elapsed = steps[-1].elapsed[name]
        rows.append(
            [
                name,
                f"{median(step.cpu[name][0] for step in steps):.0f}",
                *(f"{step.cpu[name][1]:.0f}" for step in steps),
                *(f"{step.ratio(name):.2f}" for step in steps),
                f"{elapsed[1] / elapsed[0]:.2f}",
            ]
        )
    worst = max(step.ratio(name) for step in steps for name in OPERATIONS)
    last = steps[-1]
    return (
        f"{table(heads, rows)}\n\n{last.partitions} partitions, {last.size / 1e9:.1f} GB. "
        f"The highest ratio of CPU is {worst:.2f}; {target_met(worst, TARGET, at_most=True)}"
    )


def chart(steps: Sequence[Step]) -> str:
    """Return an SVG of the ratios by amount of history."""
    return line_chart(
        "PostgreSQL's CPU per operation, relative to a new database",
        ["0", *(_label(step.rows) for step in steps)],
        {name: [1.0, *(step.ratio(name) for step in steps)] for name in OPERATIONS},
        target=TARGET,
        unit="ratio",
    )


def _label(rows: int) -> str:
    return f"{rows / _MILLION:.0f} M" if rows >= _MILLION else str(rows)


if __name__ == "__main__":
    main()
