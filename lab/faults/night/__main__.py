"""`python -m lab.faults.night`: the night drill, checked by a program or held for a person.

Exit codes: 0; 1 if a cause was not named in time, or did not clear; 2 if the run failed.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
import shutil
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click

from ...command import HELP, data_option, log, run_command
from ...errors import LabError
from ..command import FAILED, run_folder
from ..finding import Finding, finding
from .incidents import INCIDENTS, Incident
from .world import World, world

__all__ = ["NAMED_WITHIN", "check", "main"]

NAMED_WITHIN, CLEAR_WITHIN = 120.0, 240.0
"""Seconds. Retries of what failed, whose intervals grow, clear the last symptoms."""
_DISK = "1g"
"""The size of the disk: large enough for the database, with a tenth of it left."""
_POLL = 1.0


async def check(name: str, incident: Incident, made: World) -> Finding:
    """Let an incident happen, and check that status and alerts name its cause, and that both clear.

    Args:
        name: Its name.
        incident: The incident.
        made: A running Clarion, in which all is well.
    """
    before = await _within(CLEAR_WITHIN, lambda: _well(made))
    async with incident.happens(made):
        begun = time.monotonic()
        named, alerted = await asyncio.gather(
            _within(NAMED_WITHIN, lambda: _names(incident, made)),
            _within(NAMED_WITHIN, lambda: _fires(incident, made)),
        )
        others = sorted({one.name for one in await made.prometheus.firing()} - {incident.runbook})
        first = await made.status()
    cleared = await _within(CLEAR_WITHIN, lambda: _cleared(incident, made))
    log(f"{name}: {[one['description'] for one in first['problems']]}, {time.monotonic() - begun:.0f} s")
    return finding(
        name,
        {
            "named by status after (s)": named,
            "by an alert after (s)": alerted,
            "clear after (s)": cleared,
            "other alerts": ", ".join(others) or "none",
        },
        {
            "all was well before": before is not None,
            f"status names {incident.runbook} first within {NAMED_WITHIN:g} s": named is not None,
            f"the alert fires within {NAMED_WITHIN:g} s": alerted is not None,
            f"both clear within {CLEAR_WITHIN:g} s": cleared is not None,
        },
    )


async def _within(seconds: float, condition: Callable[[], Awaitable[bool]]) -> float | None:
    """Return after how many seconds a condition was met; None if it was not met in time."""
    begun = time.monotonic()
    while time.monotonic() - begun < seconds:
        if await condition():
            return time.monotonic() - begun
        await asyncio.sleep(_POLL)
    return None


async def _well(made: World) -> bool:
    return not (await made.status())["problems"] and not await made.prometheus.firing()


async def _names(incident: Incident, made: World) -> bool:
    """Return whether the first problem in the status is the cause."""
    problems = (await made.status())["problems"]
    if not problems:
        return False
    first = problems[0]
    return first["runbook"] == incident.runbook and bool(re.search(incident.text, first["description"]))


async def _fires(incident: Incident, made: World) -> bool:
    return incident.runbook in {one.name for one in await made.prometheus.firing()}


async def _cleared(incident: Incident, made: World) -> bool:
    problems = {one["runbook"] for one in (await made.status())["problems"]}
    return incident.runbook not in problems and not await _fires(incident, made)


@click.command(context_settings=HELP)
@click.option(
    "--incident",
    "names",
    type=click.Choice(list(INCIDENTS)),
    multiple=True,
    help="What happens; repeatable.  [default: all, or with --hold a random one]",
)
@click.option(
    "--hold", is_flag=True, help="Start one incident and hold it until Ctrl-C or Enter, for a person."
)
@click.option("--seed", type=int, help="Seed of the choice with --hold.  [default: random]")
@data_option
def main(*, names: tuple[str, ...], hold: bool, seed: int | None, data: Path) -> None:
    """Check that `clarion status` and the alerts name the cause of each incident, and clear afterwards.

    With --hold, a person finds it out: with `clarion status`, the alerts, the portal and docs/runbooks.
    """
    data = data.absolute()
    if hold:
        chance = random.Random(seed)  # noqa: S311 - not a secret
        run_command(_hold(chance.choice(names or list(INCIDENTS)), data), name="night")
    run_command(_check_all(names or tuple(INCIDENTS), data), name="night")


async def _check_all(names: Sequence[str], data: Path) -> int:
    with run_folder(data, "night") as folder, _small_disk(folder.path) as is_small:
        chosen = [name for name in names if is_small or name != "disk-nearly-full"]
        if len(chosen) < len(names):
            log("disk-nearly-full: skipped, because only root can mount a small disk")
        found = []
        async with world(folder.path / "disk") as made:
            for number, name in enumerate(chosen, 1):
                log(f"{number}/{len(chosen)}: {name}")
                found.append(await check(name, INCIDENTS[name], made))
                click.echo(str(found[-1]))
        folder.passed = all(one.passed for one in found)
    return 0 if folder.passed else FAILED


async def _hold(name: str, data: Path) -> int:
    with run_folder(data, "night") as folder, _small_disk(folder.path) as is_small:
        if name == "disk-nearly-full" and not is_small:
            raise LabError("the disk cannot be filled: only root can mount a small disk; choose another seed")
        async with world(folder.path / "disk") as made:
            await asyncio.sleep(15)  # so that there is some history
            async with INCIDENTS[name].happens(made):
                click.echo(await _briefing(made))
                await asyncio.to_thread(
                    click.prompt, "Press Enter for the answer", default="", show_default=False
                )
                click.echo(INCIDENTS[name].answer)
        folder.passed = True
    return 0


async def _briefing(made: World) -> str:
    out = await made.up.check("operators", "create", "--name", "night", "--role", "admin")
    return f"""
It is night, and something is wrong. What is it? You have:

  clarion --config {made.up.config} status       (and the other commands)
  {made.prometheus.url}/alerts                   (each fires after a second instead of minutes)
  http://127.0.0.1:{made.up.port}/portal         (the key: {re.findall(r"ak_[A-Za-z0-9_-]+", out)[0]})
  docs/runbooks
"""


@contextmanager
def _small_disk(folder: Path) -> Iterator[bool]:
    """Make the folder `disk`; if this is root, it is a small file system. Return whether it is."""
    disk = folder / "disk"
    disk.mkdir(mode=0o700)
    if os.geteuid() != 0:
        yield False
        return
    _system("mount", "-t", "tmpfs", "-o", f"size={_DISK},mode=0700", "tmpfs", str(disk))
    try:
        yield True
    finally:
        _system("umount", "--lazy", str(disk))


def _system(program: str, *arguments: str) -> None:
    path = shutil.which(program)
    if path is None:
        raise LabError(f"the program {program} is missing")
    subprocess.run([path, *arguments], check=True)


if __name__ == "__main__":
    main()
