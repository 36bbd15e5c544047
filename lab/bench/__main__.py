"""`python -m lab.bench`: triggers per second, and CPU for each, next to a server that does nothing.

Exit codes: 0; 1 if an answer was not 204; 2 if the run failed. See docs/benchmarks.md.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from gateway import GatewaySettings

from ..command import HELP, data_option, run_command, temporary_run
from ..load import LOADERS, make_loader
from ..product import product
from . import report
from .ceiling import ceiling
from .measure import Plan, measure

__all__ = ["main"]

_INVALID = 1


@click.command(context_settings=HELP)
@click.option(
    "--seconds", type=click.IntRange(1, 600), default=6, help="Seconds to measure each variant in each round."
)
@click.option("--rounds", type=click.IntRange(1, 100), default=5)
@click.option(
    "--warmup", type=click.IntRange(0, 60), default=3, help="Seconds to warm up each variant; 0 for none."
)
@click.option("--connections", type=click.IntRange(1, 1000), default=32)
@click.option("--processes", type=click.IntRange(1, 64), default=1, help="Server processes.")
@click.option("--envoy-threads", type=click.IntRange(1, 64), default=GatewaySettings().worker_threads)
@click.option("--loader", type=click.Choice(LOADERS), default=LOADERS[0])
@data_option
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write every figure to this file.")
@click.option("--markdown", type=click.Path(path_type=Path), help="Write the table to this file.")
def main(json_file: Path | None, markdown: Path | None, data: Path, **options: Any) -> None:
    """Measure triggers per second and CPU per trigger, next to an empty server behind the same gateway."""
    files = {report.as_json: json_file, report.as_markdown: markdown}
    run_command(_run(Plan(**options), data, {form: file for form, file in files.items() if file}))


async def _run(plan: Plan, data: Path, files: Mapping[Callable[..., str], Path]) -> int:
    load_before = os.getloadavg()[0]
    with temporary_run(data) as run:
        make_loader(plan.loader, run.data, "", plan.connections)  # fails before anything is started
        async with (
            ceiling(run, servers=plan.processes, threads=plan.envoy_threads) as empty,
            product(run) as core,
            core.serving(servers=plan.processes, threads=plan.envoy_threads) as deployment,
        ):
            samples = await measure(plan, empty, core, deployment)
    found = report.rows(samples)
    facts = report.run_facts(data, load_before)
    click.echo(f"\n{report.as_text(found)}\n\n{report.verdict(found)}")
    for form, file in files.items():
        await asyncio.to_thread(file.write_text, form(found, samples, plan, facts))
    return 0 if report.is_valid(found) else _INVALID


if __name__ == "__main__":
    main()
