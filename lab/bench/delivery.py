"""`python -m lab.bench.delivery`: how fast, and at what cost, messages leave. See docs/benchmarks.md.

Exit 0; 2 if something is missing or wrong, such as a message that was not delivered at the first attempt.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from . import backlog, idle
from .command import data_option, own_folder, run_bench, say
from .figures import facts, met, percentile

__all__ = ["main"]


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option("--messages", type=click.IntRange(50, 100_000), default=4000, help="Of a variant in a round.")
@click.option("--rounds", type=click.IntRange(0, 100), default=5, help="0: no backlogs.")
@click.option(
    "--variant",
    "variants",
    type=click.Choice(backlog.VARIANTS),
    multiple=True,
    default=backlog.VARIANTS,
    show_default="all",
    help="Only this one; may be given several times.",
)
@click.option("--connections", type=click.IntRange(1, 200), default=10, help="To each sink.")
@click.option("--triggers", type=click.IntRange(0, 10_000), default=300, help="Lone ones; 0: none.")
@click.option("--idle-seconds", type=click.IntRange(1, 600), default=20, help="Seconds of doing nothing.")
@data_option
def main(**options: Any) -> None:
    """Measure messages a second from a backlog, by channel, and how long a lone trigger takes."""
    sys.exit(run_bench(_measure(**options)))


async def _measure(
    *,
    messages: int,
    rounds: int,
    variants: tuple[str, ...],
    connections: int,
    triggers: int,
    idle_seconds: int,
    data: Path,
) -> int:
    load_before = os.getloadavg()[0]
    if rounds:
        with own_folder(data) as run:
            turns = await backlog.measure(run, messages, connections, rounds, say, variants=variants)
        click.echo(f"\n{backlog.as_table(turns)}\n\n{_speed(turns)}")
        click.echo(f"{rounds} rounds of {messages} messages, {connections} connections to each sink.")
    if triggers:
        with own_folder(data) as run:
            found = await idle.measure(run, triggers, idle_seconds, say)
        click.echo(f"\n{idle.as_table(found)}\n\n{_idleness(found)}")
    click.echo(f"\n{facts(load_before)}")
    return 0


def _speed(turns: Mapping[str, Sequence[backlog.Turn]]) -> str:
    if backlog.EMAIL not in turns:
        return ""
    ratio = backlog.ratios(turns, backlog.EMAIL)
    return f"Email reaches {ratio:.2f} of the bare loop; {met(ratio >= backlog.TARGET, backlog.TARGET)}"


def _idleness(found: idle.Idle) -> str:
    p50, p99 = (percentile(found.from_204, percent) * 1000 for percent in (50, 99))
    verdict = met(found.polling < idle.IDLE_TARGET, idle.IDLE_TARGET)
    return (
        f"From 204 to DATA: p50 {p50:.1f} ms, p99 {p99:.1f} ms. An idle dispatcher, with its part of "
        f"PostgreSQL,\ntakes {found.polling:.2f} % of a core; {verdict}"
    )


if __name__ == "__main__":
    main()
