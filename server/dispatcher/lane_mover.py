"""Moves waiting triggers to their campaign's current lane after its providers have changed.

A trigger is queued in the lane that its campaign has when it is accepted. If the campaign's providers change,
a dispatcher that claims it from the old lane releases it to the new one. But the provider of the old lane may
be down, slow or no longer configured. So every lane is also searched for triggers that are due and belong
elsewhere.

Scheduled triggers and retries stay where they are until they are due. Those that are due move in small
numbers, as the dispatchers have room for them: a backlog of millions is not rewritten at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
from collections.abc import Callable, Collection, Mapping
from typing import Protocol

import structlog

from ..domain.campaign import channel_of
from ..domain.clock import SYSTEM_CLOCK, Clock
from ..domain.delivery import Moved
from ..errors import StoreUnavailable
from .redact import safe_traceback

__all__ = ["LaneMover", "Movable"]

CHUNK = 500
"""Triggers to move in one commit."""
INTERVAL = 1.0
"""Seconds between searches for what became due."""
MAX_WAIT = 5.0
"""Seconds after which the next chunk is moved even if the dispatcher has not requested more triggers."""
SETTLE_TIME = 30.0
"""Seconds after a change until every server has noticed it and every commit that began before has ended."""
FRONT = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
MARGIN = dt.timedelta(seconds=2)
"""A trigger may appear this long after it became due: nearly every commit takes less time than this."""

LanesByCampaign = Mapping[tuple[int, int], str]


class Movable(Protocol):
    """A queue whose triggers can be moved between lanes."""

    async def lanes(self) -> set[str]:
        """Return the lanes that have queued triggers. May raise `StoreUnavailable`."""
        ...

    async def move_misplaced(self, lane: str, floor: dt.datetime, limit: int) -> Moved:
        """Move due triggers of this lane whose campaign has another lane. May raise `StoreUnavailable`.

        Args:
            lane: The lane to search.
            floor: The due time from which to search.
            limit: The maximum number of triggers to move.
        """
        ...


class LaneMover:
    """Searches the lanes until cancelled.

    Args:
        queue: The queue to search.
        lanes_by_campaign: Returns the lane of each campaign, in a new mapping after a change.
        clock: Measures all waits.
    """

    def __init__(
        self, queue: Movable, lanes_by_campaign: Callable[[], LanesByCampaign], clock: Clock = SYSTEM_CLOCK
    ) -> None:
        self._queue = queue
        self._lanes_by_campaign = lanes_by_campaign
        self._clock = clock
        self._log = structlog.get_logger("clarion.dispatch").bind()
        self._requested = asyncio.Event()
        self._unfinished: set[str] = set()
        """The lanes from which more triggers must be moved."""
        self._known: LanesByCampaign = {}
        self._search_again_at: float | None = None
        self._floors: dict[str, dt.datetime] = {}
        """For each lane, the due time up to which no trigger is misplaced."""

    def request_more(self, lanes: Collection[str]) -> None:
        """Move the next chunk at once if it may contain triggers for these lanes.

        Args:
            lanes: Lanes that have fewer triggers than could be sent.
        """
        if {channel_of(lane) for lane in self._unfinished} & {channel_of(lane) for lane in lanes}:
            self._requested.set()

    async def run(self) -> None:
        """Move misplaced triggers until cancelled."""
        while True:
            self._requested.clear()
            self._unfinished.clear()
            try:
                self._forget_floors_after_changes()
                for lane in sorted(await self._queue.lanes()):
                    await self._move(lane)
            except StoreUnavailable:  # logged when a claim fails
                pass
            except Exception as error:  # the next run may succeed
                self._log.error("moving_failed", exception=safe_traceback(error))
            await (self._until_requested() if self._unfinished else self._clock.sleep(INTERVAL))

    def _forget_floors_after_changes(self) -> None:
        """Search from the start after campaigns have changed lanes, and again once the change has settled."""
        current, now = self._lanes_by_campaign(), self._clock.monotonic()
        settled = self._search_again_at is not None and now >= self._search_again_at
        # Usually it is the same object, so that thousands of campaigns need not be compared every second.
        changed = current is not self._known and current != self._known
        self._known = current
        if changed:
            self._search_again_at = now + SETTLE_TIME
            self._floors.clear()
        elif settled:
            self._search_again_at = None
            self._floors.clear()

    async def _move(self, lane: str) -> None:
        """Move triggers out of a lane, and note whether more may be misplaced."""
        moved = await self._queue.move_misplaced(lane, self._floors.get(lane, FRONT), CHUNK)
        if moved.count:
            self._log.info("triggers_moved", lane=lane, count=moved.count)
        if moved.count >= CHUNK and moved.reached is not None:
            self._unfinished.add(lane)
            self._floors[lane] = moved.reached
        else:
            self._floors[lane] = moved.at - MARGIN

    async def _until_requested(self) -> None:
        """Wait until a dispatcher requests more triggers, or for `MAX_WAIT`."""
        with contextlib.suppress(TimeoutError):
            async with self._clock.timeout(MAX_WAIT):
                await self._requested.wait()
