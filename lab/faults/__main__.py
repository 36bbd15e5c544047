"""`python -m lab.faults`: exit 0; 1 if a promise was broken; 2 if the run could not go on."""

from __future__ import annotations

import asyncio
import random
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

import click
import uvloop

from gateway import GatewayError
from server.errors import ClarionError

from ..product.product import running
from .phases import Phase, kill_phase, stop_phase
from .plan import VICTIMS, FaultsError, Plan
from .report import as_text

__all__ = ["main"]

_BROKEN, _WRONG, _STOPPED = 1, 2, 130
_START_SECONDS, _ROUND_SECONDS = 300.0, 30.0


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option("--rounds", type=click.IntRange(0, 10_000), default=50, help="How often something is killed.")
@click.option(
    "--stops", type=click.IntRange(0, 10_000), default=10, help="How often SIGTERM ends the dispatcher."
)
@click.option(
    "--seed", type=int, help="Of all that is random, to repeat a run.  [default: another each time]"
)
@click.option(
    "--victims",
    type=click.Choice(list(VICTIMS)),
    multiple=True,
    default=("dispatcher", "server", "both"),
    help="What is killed; can be given several times.",
)
@click.option("--callers", type=click.IntRange(1, 100), default=6)
@click.option("--data", type=click.Path(path_type=Path), default=Path(".clarion"), help="Where it all runs.")
def main(*, seed: int | None, data: Path, **options: Any) -> None:
    """Kill processes under load, and count what became of each trigger that was accepted."""
    plan = Plan(seed=random.randrange(10**6) if seed is None else seed, data=data, **options)  # noqa: S311
    click.echo(f"seed {plan.seed}; to see the same chances again: --seed {plan.seed}")
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="faults-", dir=data))
    try:
        phases = uvloop.run(_until_signal(plan, folder))
    except (FaultsError, ClarionError, GatewayError, TimeoutError) as error:
        click.echo(f"faults: {error or 'took too long'}; logs: {folder}", err=True)
        sys.exit(_WRONG)
    except (KeyboardInterrupt, asyncio.CancelledError):
        shutil.rmtree(folder, ignore_errors=True)
        click.echo("faults: stopped; everything that it started has ended", err=True)
        sys.exit(_STOPPED)
    for title, phase in phases.items():
        click.echo(f"\n{as_text(title, phase)}")
    if not all(phase.verdict and phase.verdict.kept for phase in phases.values()):
        click.echo(f"\na promise was broken; logs: {folder}")
        sys.exit(_BROKEN)
    shutil.rmtree(folder, ignore_errors=True)
    click.echo("\nevery promise was kept")


async def _until_signal(plan: Plan, folder: Path) -> dict[str, Phase]:
    """Run both phases; SIGINT and SIGTERM cancel them, which ends all processes."""
    task = asyncio.ensure_future(_phases(plan, folder))
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    return await task


async def _phases(plan: Plan, folder: Path) -> dict[str, Phase]:
    chance = random.Random(plan.seed)  # noqa: S311 - to repeat a run, not to keep a secret
    phases = {}
    async with asyncio.timeout(_START_SECONDS + _ROUND_SECONDS * (plan.rounds + plan.stops)):
        async with running(folder, plan.seed) as product:
            if plan.rounds:
                phases["killed by SIGKILL"] = await kill_phase(product, plan, chance, click.echo)
            if plan.stops:
                phases["ended by SIGTERM"] = await stop_phase(product, plan, chance, click.echo)
    return phases


if __name__ == "__main__":
    main()
