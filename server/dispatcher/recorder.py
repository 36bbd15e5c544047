"""Recording what came of attempts: group commit, and patience with the store."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Sequence
from typing import Generic

import structlog

from ..domain.delivery import ClaimT, Finished, Released
from ..errors import StoreUnavailable
from .ports import Queue
from .redact import safe_traceback

__all__ = ["Recorder", "StoreHealth"]

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 5.0
GATHER = 0.005
"""Seconds that a commit waits for more outcomes while they come together: one costs nearly as much as ten."""
BATCH = 500
"""Outcomes in one commit: what joins them to their rows grows with the square."""


class StoreHealth:
    """Whether a part of the store is away: logged once when it begins and once when it ends."""

    def __init__(self, part: str) -> None:
        self._log = structlog.get_logger("clarion.dispatch").bind(part=part)
        self._failures = 0

    @property
    def pause(self) -> float:
        """Seconds to wait before the store is asked again; 0 while it is there."""
        return min(FIRST_PAUSE * 2 ** min(self._failures - 1, 10), LONGEST_PAUSE) if self._failures else 0.0

    def failed(self, error: Exception) -> None:
        """Note that a call to the store failed."""
        self._failures += 1
        if not isinstance(error, StoreUnavailable):
            self._log.error("store_failed", exception=safe_traceback(error))
        elif self._failures == 1:
            self._log.warning("store_unavailable", error=str(error))

    def over(self) -> None:
        """Note that a call to the store succeeded."""
        if self._failures:
            self._log.info("store_available", failed_calls=self._failures)
            self._failures = 0


class Recorder(Generic[ClaimT]):
    """Hands outcomes to the store: those that arrive during one commit, or just after it, form the next.

    Outcomes whose recording failed are kept and recorded again once the store is back, so
    that what was sent is not sent again. Whoever claims must wait while `behind` is true.
    """

    def __init__(self, queue: Queue[ClaimT], outage: StoreHealth, progress: Callable[[], None]) -> None:
        """Take the queue, what is known of its health, and whom to tell of each commit."""
        self._queue = queue
        self._outage = outage
        self._progress = progress
        self._log = structlog.get_logger("clarion.dispatch").bind()
        self._finished: list[Finished[ClaimT]] = []
        self._returned: list[Released[ClaimT]] = []
        self._unrecorded = 0
        self._ended: set[uuid.UUID] = set()
        """The ids of outcomes that the store has not taken yet."""
        self._failing = False
        self._work = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()

    @property
    def behind(self) -> bool:
        """True while outcomes wait for a store that did not take them."""
        return self._failing

    @property
    def unrecorded(self) -> int:
        """How many outcomes and returned claims the store has not taken yet."""
        return self._unrecorded

    def has(self, claimed: uuid.UUID) -> bool:
        """Tell whether an outcome of this trigger or message waits to be recorded."""
        return claimed in self._ended

    def finished(self, outcome: Finished[ClaimT]) -> None:
        """Record an outcome soon."""
        self._finished.append(outcome)
        self._ended.add(outcome.claim.id)
        self._noted()

    def returned(self, claim: Released[ClaimT]) -> None:
        """Hand a claim back soon."""
        self._returned.append(claim)
        self._noted()

    def _noted(self) -> None:
        self._unrecorded += 1
        self._work.set()
        self._empty.clear()

    async def drained(self) -> None:
        """Return once the store has everything."""
        await self._empty.wait()

    async def run(self) -> None:
        """Record until cancelled."""
        crowded = False
        while True:
            await self._work.wait()
            if crowded:
                await asyncio.sleep(GATHER)
            finished, self._finished = self._finished[:BATCH], self._finished[BATCH:]
            returned, self._returned = self._returned[:BATCH], self._returned[BATCH:]
            if not self._finished and not self._returned:
                self._work.clear()
            crowded = len(finished) > 1
            await self._persist(finished, returned)
            self._failing = False
            self._ended.difference_update(outcome.claim.id for outcome in finished)
            self._unrecorded -= len(finished) + len(returned)
            if not self._unrecorded:
                self._empty.set()
            self._progress()

    async def _persist(
        self, finished: Sequence[Finished[ClaimT]], returned: Sequence[Released[ClaimT]]
    ) -> None:
        """Give a batch to the store, however long that takes."""
        while finished or returned:
            try:
                if finished:
                    await self._queue.finish(finished)
                    finished = ()
                if returned:
                    await self._queue.hand_back(returned)
                    returned = ()
                self._outage.over()
            except StoreUnavailable as error:
                self._failing = True
                self._outage.failed(error)
                await asyncio.sleep(self._outage.pause)
            except Exception as error:
                if finished:
                    await self._part(finished, error)
                    finished = ()
                else:  # they come due when their lease ends
                    self._log.error(
                        "handing_back_failed", count=len(returned), exception=safe_traceback(error)
                    )
                    returned = ()

    async def _part(self, finished: Sequence[Finished[ClaimT]], error: Exception) -> None:
        """Record what can be recorded of a batch that the store finds fault with."""
        if len(finished) > 1:
            for outcome in finished:
                await self._persist([outcome], ())
            return
        ids = [str(outcome.claim.id) for outcome in finished]
        self._log.error("recording_failed", ids=ids, exception=safe_traceback(error))
