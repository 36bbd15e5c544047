"""Records the outcomes of attempts by group commit, and keeps them while the store is unavailable."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Sequence
from typing import Generic

import structlog

from ..domain.clock import SYSTEM_CLOCK, Clock
from ..domain.delivery import ClaimT, Finished, Released
from ..errors import StoreUnavailable
from .ports import Queue
from .redact import safe_traceback
from .store_health import StoreHealth

__all__ = ["Recorder"]

GATHER = 0.01
"""Seconds to wait for more outcomes before a commit, if the last commit had several. Recording ten in one
commit costs little more than recording one."""
BATCH = 500
"""Maximum outcomes in one commit, because the cost of its join grows with the square of their number."""


class Recorder(Generic[ClaimT]):
    """Writes outcomes to the queue. Those that arrive during one commit are written together in the next.

    If outcomes cannot be recorded, they are kept until the store is available, so that no message is sent
    again because its outcome is missing. Nothing may be claimed while `behind` is true.

    Args:
        queue: Where outcomes are recorded.
        health: The queue's health, shared with the dispatcher, which claims from the same queue.
        progress: Called after each commit.
        clock: Measures the waits.
    """

    def __init__(
        self,
        queue: Queue[ClaimT],
        health: StoreHealth,
        progress: Callable[[], None],
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._queue = queue
        self._health = health
        self._progress = progress
        self._clock = clock
        self._log = structlog.get_logger("clarion.dispatch").bind()
        self._finished: list[Finished[ClaimT]] = []
        self._released: list[Released[ClaimT]] = []
        self._unrecorded = 0
        self._unrecorded_ids: set[uuid.UUID] = set()
        """The IDs of the finished claims that are not recorded yet."""
        self._failing = False
        self._work = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()

    @property
    def behind(self) -> bool:
        """Whether outcomes cannot be recorded at present, because the store is unavailable."""
        return self._failing

    @property
    def unrecorded(self) -> int:
        """The number of outcomes and released claims that are not recorded yet."""
        return self._unrecorded

    def has(self, claim_id: uuid.UUID) -> bool:
        """Return whether an outcome of this trigger or message is not recorded yet."""
        return claim_id in self._unrecorded_ids

    def finished(self, outcome: Finished[ClaimT]) -> None:
        """Record an outcome with the next commit."""
        self._finished.append(outcome)
        self._unrecorded_ids.add(outcome.claim.id)
        self._added()

    def released(self, claim: Released[ClaimT]) -> None:
        """Release a claim with the next commit."""
        self._released.append(claim)
        self._added()

    def _added(self) -> None:
        self._unrecorded += 1
        self._work.set()
        self._empty.clear()

    async def drained(self) -> None:
        """Return when everything is recorded."""
        await self._empty.wait()

    async def run(self) -> None:
        """Record until cancelled."""
        gather = False
        while True:
            await self._work.wait()
            if gather:
                await self._clock.sleep(GATHER)
            finished, self._finished = self._finished[:BATCH], self._finished[BATCH:]
            released, self._released = self._released[:BATCH], self._released[BATCH:]
            if not self._finished and not self._released:
                self._work.clear()
            gather = len(finished) > 1
            await self._record(finished, released)
            self._failing = False
            self._unrecorded_ids.difference_update(outcome.claim.id for outcome in finished)
            self._unrecorded -= len(finished) + len(released)
            if not self._unrecorded:
                self._empty.set()
            self._progress()

    async def _record(
        self, finished: Sequence[Finished[ClaimT]], released: Sequence[Released[ClaimT]]
    ) -> None:
        """Write a batch to the queue, and retry until the store is available."""
        while finished or released:
            try:
                if finished:
                    await self._queue.finish(finished)
                    finished = ()
                if released:
                    await self._queue.release(released)
                    released = ()
                self._health.succeeded()
            except StoreUnavailable as error:
                self._failing = True
                self._health.failed(error)
                await self._clock.sleep(self._health.pause)
            except Exception as error:
                if finished:
                    await self._record_each(finished, error)
                    finished = ()
                else:  # the messages become due again when their leases end
                    self._log.error("release_failed", count=len(released), exception=safe_traceback(error))
                    released = ()

    async def _record_each(self, finished: Sequence[Finished[ClaimT]], error: Exception) -> None:
        """Record the outcomes of a rejected batch one by one, and log those that are rejected again."""
        if len(finished) > 1:
            for outcome in finished:
                await self._record([outcome], ())
            return
        ids = [str(outcome.claim.id) for outcome in finished]
        self._log.error("recording_failed", ids=ids, exception=safe_traceback(error))
