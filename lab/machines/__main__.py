"""`python -m lab.machines`: run many machines in network namespaces, break links, and fail over under load.

Exit codes: 0; 1 if a guarantee failed; 2 if the run failed.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from ..command import HELP, log, run_command
from ..errors import LabError
from .cluster import Cluster
from .failovers import Failover, fail_over
from .fleet import HOSTS, LEASE, Fleet, running_fleet
from .incidents import INCIDENTS, Impact, meet
from .network import missing, network, own_namespace
from .report import Report
from .verdict import judge

__all__ = ["main"]

_START_SECONDS, _FAILOVER_SECONDS, _INCIDENT_SECONDS, _END_SECONDS = 300.0, 120.0, 90.0, 300.0
_CALLERS = 6
_QUIET = 3.0
"""Seconds under load before and after each incident."""
_GRACE = LEASE + 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The options of a run."""

    failovers: int
    cut_offs: int
    incidents: int
    seconds: float

    @property
    def limit(self) -> float:
        """Seconds after which the run ends in any case."""
        changes = (self.failovers + self.cut_offs) * _FAILOVER_SECONDS
        return _START_SECONDS + changes + self.incidents * (_INCIDENT_SECONDS + self.seconds) + _END_SECONDS


@click.command(context_settings=HELP)
@click.option(
    "--failovers", type=click.IntRange(0, 1000), default=10, help="How often the primary is killed."
)
@click.option("--cut-offs", type=click.IntRange(0, 1000), default=2, help="How often it is cut off instead.")
@click.option(
    "--incidents",
    type=click.IntRange(0, len(INCIDENTS)),
    default=len(INCIDENTS),
    help="How many partitions, delays and losses.",
)
@click.option("--seconds", type=click.FloatRange(1, 600), default=10.0, help="How long each of these lasts.")
@click.option("--keep", is_flag=True, help="Keep the folder with the logs, also of a run that passed.")
def main(*, keep: bool, **options: Any) -> None:
    """Run many machines in network namespaces, break links, and fail over under load."""
    if reason := missing():
        log(f"machines: {reason}")
        sys.exit(2)
    try:
        own_namespace()
    except LabError as error:
        log(f"machines: {error}")
        sys.exit(2)
    run_command(_run(Plan(**options), keep=keep), name="machines")


async def _run(plan: Plan, *, keep: bool) -> int:
    load_before = os.getloadavg()[0]
    with _folder(keep=keep) as folder:
        async with (
            asyncio.timeout(plan.limit),
            network(HOSTS) as net,
            running_fleet(net, folder) as fleet,
        ):
            report = await _drill(fleet, plan, load_before)
        click.echo(str(report))
        if not report.failures:
            (folder / "passed").touch()
        return 1 if report.failures else 0


@contextmanager
def _folder(*, keep: bool) -> Iterator[Path]:
    """Make a folder with a short path, because it contains sockets; delete it unless the run failed."""
    folder = Path(tempfile.mkdtemp(prefix="clm-", dir="/tmp"))
    try:
        yield folder
    except asyncio.CancelledError:
        (folder / "passed").touch()
        raise
    finally:
        if (folder / "passed").exists() and not keep:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            log(f"logs: {folder}/log")


async def _drill(fleet: Fleet, plan: Plan, load_before: float) -> Report:
    impacts: list[Impact] = []
    changes: list[Failover] = []
    rounds = plan.failovers + plan.cut_offs
    async with fleet.load.running(_CALLERS):
        for incident in INCIDENTS[: plan.incidents]:
            await asyncio.sleep(_QUIET)
            impacts.append(await meet(fleet, incident, plan.seconds))
        for number in range(rounds):
            await asyncio.sleep(_QUIET)
            log(f"failover {number + 1}/{rounds}; {len(fleet.load.accepted)} accepted so far")
            changes.append(await fail_over(fleet, cut_off=number >= plan.failovers))
        await asyncio.sleep(_QUIET)
    await _until_sent(fleet.databases)
    kept = {str(row[0]) for row in await fleet.databases.primary.query("SELECT id FROM trigger")}
    windows = [*(one.window for one in impacts), *(one.window for one in changes)]
    verdict = judge(fleet.load.accepted, kept, fleet.mails(), windows, _GRACE)
    return Report(impacts, changes, verdict, load_before)


async def _until_sent(databases: Cluster) -> None:
    """Wait until the queue is empty.

    Raises:
        LabError: It was not in time.
    """
    left = -1
    try:
        async with asyncio.timeout(_END_SECONDS / 2):
            while left := (await databases.primary.query("SELECT count(*) FROM queue"))[0][0]:  # noqa: ASYNC110
                await asyncio.sleep(0.5)
    except TimeoutError:
        raise LabError(
            f"{left} triggers are still queued {_END_SECONDS / 2:g} s after the last call"
        ) from None


if __name__ == "__main__":
    main()
