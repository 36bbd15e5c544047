"""Computes where in a lane a claim starts to scan, so that it skips dead rows at the front.

A claimed row moves to the end of its lease and leaves a dead index entry behind. Vacuum removes those, but
not while an old transaction is open anywhere in the database: then every claim that starts at the front of
the index steps over all rows that were claimed since, and takes ever longer. But the rows before the last
claim are known to be claimed, so the next claim can start there: at the floor.

A row can appear below the floor: its due time is when its transaction began, which may commit late. So some
claims look further back, and a few start at the front. If such a claim returns as many rows as were
requested, there may be more late rows, so the next claim continues where it ended. A whole batch may have
been committed late, while a provider with a rate limit requests one message at a time.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from ...domain.delivery import ClaimRequest

__all__ = ["FRONT", "ScanFloors"]

FRONT = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
"""A time before any row is due."""
MARGIN = dt.timedelta(seconds=0.25)
"""How far below the last claim the next one starts: longer than nearly every commit takes."""
LOOK_BACK, LOOK_BACK_EVERY = dt.timedelta(seconds=15), 2.0
"""How far below the last claim a look back starts, and the seconds between two of them.

The distance is longer than a commit may take by default."""
LOOK_AT_ALL_EVERY = 60.0
"""Seconds between claims from the front, in case a clock was changed or something else was not foreseen."""


@dataclass(slots=True)
class _Lane:
    reached: dt.datetime = FRONT
    """All rows that are due by this time are known to be claimed."""
    back_at: dt.datetime | None = None
    """Where an unfinished look back continues; None if it has caught up."""
    looked_back_at: float = field(default=float("-inf"))
    looked_at_all_at: float = field(default=float("-inf"))


class ScanFloors:
    """The floors of all lanes, for one dispatcher.

    Args:
        clock: Returns monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lanes: dict[str, _Lane] = {}

    def of(self, lane: str) -> dt.datetime:
        """Return the due time from which the next claim in this lane scans."""
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

    def record_scan(
        self,
        shares: Sequence[ClaimRequest],
        counts: Mapping[str, int],
        reached: Sequence[dt.datetime | None],
        at: dt.datetime,
    ) -> None:
        """Record the result of a claim.

        Args:
            shares: What was requested from each lane.
            counts: The number of rows claimed, by lane.
            reached: For each share the due time of the last row claimed, or None.
            at: The database's time of the claim.
        """
        for share, last in zip(shares, reached, strict=True):
            full = counts[share.lane] >= share.slots
            self.record_claimed(share.lane, last if full else at, at)

    def record_claimed(self, lane: str, reached: dt.datetime | None, at: dt.datetime) -> None:
        """Record that all rows of the lane due by `reached` are claimed; `at` is the database's time."""
        if reached is None:
            return
        state = self._lanes.setdefault(lane, _Lane())
        # A look far back may have found only old rows, and the clock may have been set back.
        state.reached = min(max(state.reached, reached), at)
        state.back_at = reached if reached < state.reached else None

    def reset(self) -> None:
        """Forget all floors: after an outage, nothing is known about other dispatchers' claims."""
        self._lanes.clear()
