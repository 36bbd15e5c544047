"""What `lab.faults.restore` does before the restore: load, base backup, recovery point, and the loss."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..errors import LabError
from ..process import until
from ..product import Product
from .load import RecordedLoad
from .restored import Primary
from .system import LATENCY_TARGET, System

__all__ = ["CALLS", "PATIENCE", "Before", "until_lost"]

PATIENCE = 120.0
"""Seconds after which a run fails."""
CALLS = 40
"""Calls that are accepted in each phase."""
_CALLERS = 2


@dataclass(frozen=True, slots=True)
class Before:
    """What happened before the loss."""

    system: System
    load: RecordedLoad
    point: dt.datetime
    sent: frozenset[str]
    """The triggers that dispatchers have logged as delivered."""

    def calls(self) -> dict[str, str]:
        """Return the trigger IDs of the calls that were answered before the recovery point."""
        at = self.load.answered_at
        return {call: id_ for call, id_ in self.load.accepted.items() if at[call] < self.point.timestamp()}


async def until_lost(primary: Primary, product: Product, mails: Path, *, archive_all: bool) -> Before:
    """Load the product, make a base backup, and lose the database some time after the recovery point.

    Args:
        primary: The server to lose.
        product: The product on it.
        mails: The file with the received mails.
        archive_all: Whether the archive reaches beyond the recovery point.

    Raises:
        LabError: Something did not happen within two minutes.
    """
    async with product.serving(latency_target=LATENCY_TARGET) as deployment:
        system = System(product, deployment.port, {}, mails)
        load = RecordedLoad(system, "restore", keyed=True)
        async with load.running(_CALLERS):
            async with product.dispatching(name="dispatcher-0"):
                await load.until_accepted(CALLS)
                await primary.back_up()
                await load.until_accepted(len(load.accepted) + CALLS)
            await load.until_accepted(len(load.accepted) + CALLS)  # these wait at the recovery point
            point = await primary.archive_now()
            async with product.dispatching(name="dispatcher-1"):
                await load.until_accepted(len(load.accepted) + CALLS)
                known = {call for call, at in load.answered_at.items() if at < point.timestamp()}
                await _until_mailed(system, known)
                if archive_all:
                    await primary.archive_now()
                await primary.lose()
        logs = [product.run.log / f"dispatcher-{number}.log" for number in range(2)]
        return Before(system, load, point, frozenset(_delivered(logs)))


async def _until_mailed(system: System, calls: set[str]) -> None:
    def all_mailed() -> bool:
        return calls <= {mail.subject for mail in system.mails("restore-")}

    if not await until(all_mailed, PATIENCE, every=0.1):
        raise LabError(f"not all messages were sent within {PATIENCE:g} s")


def _delivered(logs: Iterable[Path]) -> Iterable[str]:
    """Yield the triggers that dispatchers have logged as delivered, as the documented `jq` does."""
    for line in (line for one in logs for line in one.read_text().splitlines() if line.startswith("{")):
        logged = json.loads(line)
        if logged.get("event") == "attempt" and logged.get("outcome") == "delivered":
            yield logged["trigger_id"]
