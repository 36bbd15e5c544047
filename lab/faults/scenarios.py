"""`python -m lab.faults.scenarios`: hang, kill and delay parts of the product under load.

Exit codes: 0; 1 if a guarantee failed; 2 if the run failed.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import click

from server.up.data_folder import RunDir

from ..command import HELP, data_option, log, run_command
from . import dispatchers, gateways
from .finding import Finding

__all__ = ["SCENARIOS", "main"]

_FAILED = 1
_LIMIT = 300.0
"""Seconds after which a scenario fails."""

SCENARIOS: Mapping[str, Callable[[RunDir], Awaitable[Finding]]] = {
    "hung-server": gateways.hung_server,
    "killed-gateway": gateways.killed_gateway,
    "hanging-dns": dispatchers.hanging_dns,
    "distant-database": dispatchers.distant_database,
    "zombie-dispatcher": dispatchers.zombie_dispatcher,
}


@click.command(context_settings=HELP)
@click.option(
    "--scenario",
    "scenarios",
    type=click.Choice(list(SCENARIOS)),
    multiple=True,
    default=tuple(SCENARIOS),
    help="What to break; repeatable.",
)
@data_option
def main(*, scenarios: tuple[str, ...], data: Path) -> None:
    """Hang, kill and delay parts of the product under load, and check its guarantees."""
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="scenarios-", dir=data))
    run_command(_run(scenarios, folder), name="faults")


async def _run(scenarios: tuple[str, ...], folder: Path) -> int:
    passed = False
    try:
        found = []
        for number, scenario in enumerate(scenarios, 1):
            log(f"{number}/{len(scenarios)}: {scenario}")
            with RunDir(folder / scenario) as run:
                run.log.mkdir(mode=0o700)
                async with asyncio.timeout(_LIMIT):
                    found.append(await SCENARIOS[scenario](run))
            click.echo(str(found[-1]))
        passed = all(one.passed for one in found)
    finally:
        if passed:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            log(f"logs: {folder}")
    return 0 if passed else _FAILED


if __name__ == "__main__":
    main()
