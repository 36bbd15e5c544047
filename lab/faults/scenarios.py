"""`python -m lab.faults.scenarios`: hang, kill and delay parts of the product under load.

Exit codes: 0; 1 if a guarantee failed; 2 if the run failed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import click

from server.up.data_folder import RunDir

from ..command import HELP, data_option, log, run_command
from . import dispatchers, gateways
from .command import FAILED, run_folder, scenario_option
from .finding import Finding

__all__ = ["SCENARIOS", "main"]

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
@scenario_option(SCENARIOS)
@data_option
def main(*, scenarios: tuple[str, ...], data: Path) -> None:
    """Hang, kill and delay parts of the product under load, and check its guarantees."""
    run_command(_run(scenarios, data), name="faults")


async def _run(scenarios: tuple[str, ...], data: Path) -> int:
    with run_folder(data, "scenarios") as folder:
        found = []
        for number, scenario in enumerate(scenarios, 1):
            log(f"{number}/{len(scenarios)}: {scenario}")
            with RunDir(folder.path / scenario) as run:
                run.log.mkdir(mode=0o700)
                async with asyncio.timeout(_LIMIT):
                    found.append(await SCENARIOS[scenario](run))
            click.echo(str(found[-1]))
        folder.passed = all(one.passed for one in found)
    return 0 if folder.passed else FAILED


if __name__ == "__main__":
    main()
