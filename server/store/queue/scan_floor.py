"""Where in a lane a claim begins to look, so that dead rows in front cost nothing.

A claimed row moves to the end of its lease and leaves a dead entry behind. Vacuum clears those away, but not
while an old transaction is open anywhere in the database: then every claim that begins at the front of the
index steps over all that was ever claimed (published: claims of 3 ms grow to over 180 ms). But what stood in
front of the last claim is known to be gone, so the next one can begin there, the floor.

A row can come to stand below the floor: its transaction took the time when it began, and committed late. So
looks further back follow now and then, the furthest to the very front. One that found as much as it might
take is gone on with from there: a whole batch may be late, and a paced provider has room for one at a time.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from ...domain.delivery import ClaimRequest

__all__ = ["FRONT", "ScanFloors"]

FRONT = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
"""Nothing was ever due before."""
MARGIN = dt.timedelta(seconds=0.25)
"""A commit takes less, nearly always."""
LOOK_BACK, LOOK_BACK_EVERY = dt.timedelta(seconds=15), 2.0
"""Longer than a trigger's commit may take by default, and seconds between such looks."""
LOOK_AT_ALL_EVERY = 60.0
"""Seconds; for clocks that were set, and whatever nobody thought of."""


@dataclass(slots=True)
class _Lane:
    reached: dt.datetime = FRONT
    """All that was due by then was seen claimed."""
    back_at: dt.datetime | None = None
    """How far a look back has come, until it has caught up."""
    looked_back_at: float = field(default=float("-inf"))
    looked_at_all_at: float = field(default=float("-inf"))


class ScanFloors:
    """The floors of all lanes, for one dispatcher."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Take a clock in seconds."""
        self._clock = clock
        self._lanes: dict[str, _Lane] = {}

    def of(self, lane: str) -> dt.datetime:
        """Return the instant at which a claim in this lane is to begin now."""
        state, now = self._lanes.setdefault(lane, _Lane()), self._clock()
        if now - state.looked_at_all_at >= LOOK_AT_ALL_EVERY:
            state.looked_at_all_at = state.looked_back_at = now
            return FRONT
        if now - state.looked_back_at >= LOOK_BACK_EVERY:
            state.looked_back_at = now
            floor = state.reached - LOOK_BACK
        else:
            floor = state.reached - MARGIN
        return min(floor, state.back_at or floor)

    def looked(
        self,
        shares: Sequence[ClaimRequest],
        came: Mapping[str, int],
        reached: Sequence[dt.datetime | None],
        at: dt.datetime,
    ) -> None:
        """Note what a claim found: how much of each lane, how far it `reached` there; `at` is its time."""
        for share, last in zip(shares, reached, strict=True):
            full = came[share.lane] >= share.slots
            self.claimed(share.lane, last if full else at, at)

    def claimed(self, lane: str, reached: dt.datetime | None, at: dt.datetime) -> None:
        """Note that all that was due in the lane by `reached` is claimed; `at` is the database's time."""
        if reached is None:
            return
        state = self._lanes.setdefault(lane, _Lane())
        # A look far back may have found old rows alone; and the clock may have been set back.
        state.reached = min(max(state.reached, reached), at)
        state.back_at = reached if reached < state.reached else None

    def begin_anew(self) -> None:
        """Forget all: after an outage, nothing is known of other dispatchers' claims."""
        self._lanes.clear()
