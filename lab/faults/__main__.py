"""`python -m lab.faults`: kill processes under load, and check every accepted trigger.

Exit codes: 0; 1 if a guarantee failed; 2 if the run failed.
"""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import click

from server.up.data_folder import RunDir

from ..command import HELP, data_option, log, run_command
from .command import FAILED, run_folder
from .phases import Phase, Plan, hang_phase, kill_phase, stop_phase
from .report import as_text
from .system import TARGETS, running_system

__all__ = ["main"]

_START_SECONDS, _ROUND_SECONDS = 300.0, 30.0


@click.command(context_settings=HELP)
@click.option(
    "--rounds", "kills", type=click.IntRange(0, 10_000), default=50, help="Rounds that kill something."
)
@click.option(
    "--stops",
    type=click.IntRange(0, 10_000),
    default=10,
    help="Rounds that stop the dispatcher with SIGTERM.",
)
@click.option(
    "--hangs",
    type=click.IntRange(0, 1_000),
    default=3,
    help="Rounds in which the mail server hangs for longer than the provider's timeout.",
)
@click.option(
    "--seed", type=int, help="Seed of all random choices; set it to repeat a run.  [default: random]"
)
@click.option(
    "--victims",
    "targets",
    type=click.Choice(list(TARGETS)),
    multiple=True,
    default=("dispatcher", "server", "both"),
    help="What to kill; repeatable.",
)
@click.option("--callers", type=click.IntRange(1, 100), default=6, help="Concurrent callers.")
@data_option
def main(*, seed: int | None, data: Path, **options: Any) -> None:
    """Kill processes under load, and check whether each accepted trigger was delivered."""
    plan = Plan(seed=random.randrange(10**6) if seed is None else seed, **options)  # noqa: S311
    log(f"seed {plan.seed}; to repeat the random choices: --seed {plan.seed}")
    run_command(_run(plan, data), name="faults")


async def _run(plan: Plan, data: Path) -> int:
    with run_folder(data, "faults") as folder:
        phases = await _phases(plan, folder.path)
        folder.passed = all(phase.verdict and phase.verdict.passed for phase in phases.values())
    for title, phase in phases.items():
        click.echo(f"\n{as_text(title, phase)}")
    click.echo("\nall guarantees held" if folder.passed else "\na guarantee failed")
    return 0 if folder.passed else FAILED


async def _phases(plan: Plan, folder: Path) -> dict[str, Phase]:
    chance = random.Random(plan.seed)  # noqa: S311 - makes a run repeatable
    phases = {}
    async with asyncio.timeout(_START_SECONDS + _ROUND_SECONDS * (plan.kills + plan.stops + plan.hangs)):
        with RunDir(folder) as run:
            run.log.mkdir(mode=0o700)
            async with running_system(run, plan.seed) as system:
                if plan.kills:
                    phases["killed with SIGKILL"] = await kill_phase(system, plan, chance)
                if plan.stops:
                    phases["stopped with SIGTERM"] = await stop_phase(system, plan, chance)
                if plan.hangs:
                    phases["hanging mail server"] = await hang_phase(system, plan, chance)
    return phases


if __name__ == "__main__":
    main()
