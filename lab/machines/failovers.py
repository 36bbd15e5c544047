"""Kills the primary under load, fails over by the documented commands, and lets the old primary return."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass

from ..command import log
from ..errors import LabError
from ..process import Process, until
from .cluster import Database
from .fleet import SERVERS, Fleet
from .incidents import Window

__all__ = ["RECOVERY_LIMIT", "Failover", "fail_over"]

KILLED = "killed"
RECOVERY_LIMIT = 15.0
"""Seconds from the promotion to the next 204: 5 on real machines; here, all hosts share two cores."""
_PATIENCE = 120.0
_REFUSED = "refused a database server that was replaced"
_STALE_SECONDS = 7.0
"""Longer than the 5 s between two comparisons of all hosts."""
_ROWS = "SELECT count(*) FROM trigger"


@dataclass(frozen=True, slots=True)
class Failover:
    """One failover, and what the old primary got when it returned."""

    how: str
    old: str
    new: str
    window: Window
    commands: float
    """Seconds that the documented commands took."""
    recovered: float | None
    """Seconds from the loss of the primary to the next 204."""
    after_commands: float | None
    """Seconds from the end of the commands to the next 204."""
    refusals: int
    """How many processes logged that they refused the old primary."""
    rows: int
    """Triggers that were written to the old primary after it returned. If it was cut off, its commits
    wait for standbys until the connection is closed: these rows are there, but got no 204.
    """

    @property
    def failures(self) -> tuple[str, ...]:
        """The guarantees that failed."""
        return tuple(self._failures())

    def _failures(self) -> Iterator[str]:
        name = f"failover from {self.old} to {self.new}"
        if self.recovered is None or self.after_commands is None:
            yield f"{name}: nothing was accepted within {_PATIENCE:g} s"
        elif self.after_commands > RECOVERY_LIMIT:
            late = f"accepted again {self.after_commands:.1f} s after the commands"
            yield f"{name}: {late}; limit {RECOVERY_LIMIT:g} s"
        if self.rows and self.how == KILLED:
            yield f"{name}: {self.rows} triggers were written to the old primary"
        if not self.refusals:
            yield f"{name}: no process logged that it refused the old primary"


async def fail_over(fleet: Fleet, *, cut_off: bool = False) -> Failover:
    """Lose the primary, fail over, let the old primary return, and make it a standby.

    One that was killed returns without its list of standbys, so that it could commit: only Clarion's own
    check protects. One that was cut off still has connections of processes that do not know the new primary.

    Args:
        fleet: What runs.
        cut_off: The primary keeps running without its network, instead of being killed.

    Raises:
        LabError: A command failed, or nothing was accepted within two minutes.
    """
    old, others = fleet.databases.primary, [*fleet.network.addresses]
    others.remove(old.host)
    began, lost = time.time(), time.monotonic()
    if cut_off:
        await fleet.network.cut(old.host, *others)
    else:
        await old.kill()
    started = time.monotonic()
    await fleet.databases.fail_over()
    promoted = time.monotonic()
    back = await fleet.load.first_accepted(started, _PATIENCE)
    if back is None:
        raise LabError(f"nothing was accepted within {_PATIENCE:g} s after a failover from {old.host}")
    window = Window(f"failover ({'cut off' if cut_off else KILLED})", began, time.time())
    log(f"  {old.host} lost, {fleet.databases.primary.host} promoted: 204 after {back - lost:.1f} s")
    refusals, rows = await _come_back(fleet, old, cut_off=cut_off)
    await fleet.databases.bring_back(old)
    return Failover(
        "cut off" if cut_off else KILLED,
        old.host,
        fleet.databases.primary.host,
        window,
        promoted - started,
        back - lost,
        back - promoted,
        refusals,
        rows,
    )


async def _come_back(fleet: Fleet, old: Database, *, cut_off: bool) -> tuple[int, int]:
    """Let the old primary run as a primary again; return the number of refusals, and of rows written to it.

    One server is restarted meanwhile. It cannot reach the new primary, so it must learn from a standby.
    """
    if not cut_off:
        await old.start(synchronous_standby_names="")
    before, refused = (await old.query(_ROWS))[0][0], _refusals(fleet)
    blind, primary = fleet.processes[SERVERS[2]], fleet.databases.primary.host
    await fleet.network.heal()
    await fleet.network.cut(SERVERS[2], primary)
    await blind.stop()
    restarting = asyncio.create_task(_start(blind))
    try:
        await asyncio.sleep(_STALE_SECONDS)
        await until(lambda: fleet.logged(SERVERS[2], _REFUSED) > 0, _PATIENCE, every=0.1)
        rows = (await old.query(_ROWS))[0][0] - before
        await old.stop()
        await fleet.network.heal()
        await restarting
    finally:
        restarting.cancel()
        await asyncio.gather(restarting, return_exceptions=True)
    return _refusals(fleet) - refused, rows


async def _start(process: Process) -> None:
    """Start a process until it runs, as a service manager does: without a primary, it ends with an error."""
    async with asyncio.timeout(_PATIENCE):
        while True:
            try:
                await process.start()
            except LabError:
                await asyncio.sleep(1)
            else:
                return


def _refusals(fleet: Fleet) -> int:
    return sum(fleet.logged(host, _REFUSED) for host in fleet.processes)
