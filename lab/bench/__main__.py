"""`python -m lab.bench`: exit 0; 1 if an answer was not 204; 2 if something is missing or wrong."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import click
import uvloop

from gateway import GatewayError, GatewaySettings
from server.errors import ClarionError

from . import report
from .load import MISSING
from .measure import Sample, measure
from .plan import BenchError, Plan

__all__ = ["main"]

_INVALID, _WRONG, _STOPPED = 1, 2, 130
_ENVOY_THREADS = GatewaySettings().worker_threads


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option("--seconds", type=int, default=6, help="Measured time of one variant in one round.")
@click.option("--rounds", type=int, default=5)
@click.option("--warmup", type=click.IntRange(0, 60), default=3, help="Seconds for each variant; 0: none.")
@click.option("--connections", type=int, default=32)
@click.option("--processes", type=int, default=1, help="Server processes.")
@click.option("--envoy-threads", type=int, default=_ENVOY_THREADS)
@click.option("--loader", type=click.Choice(["wrk", "builtin"]), default="wrk")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    default=Path(".clarion"),
    help="Where the database lives for the run; its disk decides what fsync costs.",
)
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write every figure there.")
@click.option("--markdown", type=click.Path(path_type=Path), help="Write the table there.")
def main(json_file: Path | None, markdown: Path | None, **options: Any) -> None:
    """Measure triggers/s and CPU for each, beside the ceiling of the same gateway."""
    try:
        plan = Plan(**options)
        if plan.loader == "wrk" and shutil.which("wrk") is None:
            raise BenchError(MISSING)  # before anything is started
        load_before = os.getloadavg()[0]
        samples = uvloop.run(_until_signal(plan))
    except (BenchError, ClarionError, GatewayError) as error:
        click.echo(f"bench: {error}", err=True)
        sys.exit(_WRONG)
    except (KeyboardInterrupt, asyncio.CancelledError):
        click.echo("bench: stopped; everything that it started has ended", err=True)
        sys.exit(_STOPPED)
    found = report.rows(samples)
    click.echo(f"\n{report.as_text(found)}\n\n{report.verdict(found)}")
    if json_file:
        whole = report.as_json(found, samples, plan, load_before)
        json_file.write_text(json.dumps(whole, indent=2) + "\n")
    if markdown:
        markdown.write_text(report.as_markdown(found, plan, load_before))
    sys.exit(0 if report.is_valid(found) else _INVALID)


async def _until_signal(plan: Plan) -> list[Sample]:
    """Measure; SIGINT and SIGTERM cancel it, which ends all processes."""
    task = asyncio.ensure_future(measure(plan, _say))
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    return await task


def _say(text: str) -> None:
    click.echo(text, err=True)


if __name__ == "__main__":
    main()
