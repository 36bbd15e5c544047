"""`python -m lab.bench.delivery`: how fast messages are sent, and at what cost. See docs/benchmarks.md.

Exit codes: 0; 2 if the run failed, for example because a message was not delivered at the first attempt.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from ..command import HELP, data_option, run_command, temporary_run
from ..product import product
from ..report import facts, percentile, target_met
from . import backlog, idle

__all__ = ["main"]


@click.command(context_settings=HELP)
@click.option(
    "--messages", type=click.IntRange(50, 100_000), default=4000, help="Messages per variant and round."
)
@click.option("--rounds", type=click.IntRange(0, 100), default=5, help="0 skips the backlogs.")
@click.option(
    "--variant",
    "variants",
    type=click.Choice(backlog.VARIANTS),
    multiple=True,
    default=backlog.VARIANTS,
    show_default="all",
    help="Measure only this variant; repeatable.",
)
@click.option("--connections", type=click.IntRange(1, 200), default=10, help="Connections to each sink.")
@click.option("--triggers", type=click.IntRange(0, 10_000), default=300, help="Single triggers; 0 for none.")
@click.option(
    "--idle-seconds", type=click.IntRange(1, 600), default=20, help="Seconds to measure while idle."
)
@data_option
def main(**options: Any) -> None:
    """Measure messages per second from a backlog, by channel, and the latency of single triggers."""
    run_command(_run(**options))


async def _run(
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
        with temporary_run(data) as run:
            async with product(run) as core:
                samples = await backlog.measure(core, messages, connections, rounds, variants)
        click.echo(f"\n{backlog.as_table(samples)}\n\n{_speed(samples)}")
        click.echo(f"{rounds} rounds of {messages} messages, {connections} connections to each sink.")
    if triggers:
        with temporary_run(data) as run:
            async with product(run) as core, core.serving(threads=1) as deployment:
                found = await idle.measure(core, deployment, triggers, idle_seconds)
        click.echo(f"\n{idle.as_table(found)}\n\n{_idleness(found)}")
    click.echo(f"\n{facts(load_before)}")
    return 0


def _speed(samples: Mapping[str, Sequence[backlog.Sample]]) -> str:
    if backlog.EMAIL not in samples:
        return ""
    ratio = backlog.ratio(samples, backlog.EMAIL)
    return f"Email reaches {ratio:.2f} of the bare loop; {target_met(ratio, backlog.TARGET)}"


def _idleness(found: idle.Idle) -> str:
    p50, p99 = (percentile(found.from_204, percent) * 1000 for percent in (50, 99))
    return (
        f"From 204 to DATA: p50 {p50:.1f} ms, p99 {p99:.1f} ms. An idle dispatcher, including its share of "
        f"PostgreSQL,\nuses {found.polling:.2f} % of a core; "
        f"{target_met(found.polling, idle.IDLE_TARGET, at_most=True)}"
    )


if __name__ == "__main__":
    main()
