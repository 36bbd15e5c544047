"""A clock for tests: time passes only when the test says so."""

from __future__ import annotations

import asyncio
import datetime as dt
import heapq
import itertools

__all__ = ["FakeClock"]

SETTLE_ROUNDS = 20
"""Iterations of the event loop in which a woken task is expected to reach its next wait."""


class FakeClock:
    """A clock in seconds that moves only by `advance` and `run`.

    Pass it for parameters like `time.monotonic` or `time.time`, and `sleep` for ones like `asyncio.sleep`.

    Args:
        start: The first reading in seconds. The default differs from 0, which code may treat as "never".
    """

    def __init__(self, start: float = 1_000_000.0) -> None:
        self.now = start
        self._order = itertools.count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def __call__(self) -> float:
        return self.now

    def __repr__(self) -> str:
        return f"FakeClock(now={self.now}, sleepers={self.sleepers})"

    @property
    def sleepers(self) -> int:
        """The number of tasks that wait in `sleep`."""
        return sum(not wakeup.done() for _, _, wakeup in self._sleepers)

    def utc(self) -> dt.datetime:
        """Return the reading as a time of day, counted from 1970."""
        return dt.datetime.fromtimestamp(self.now, dt.UTC)

    def advance(self, seconds: float) -> None:
        """Move the clock, also backwards; wake the sleepers whose time has passed.

        They continue in the next iterations of the event loop. See `run` for code that sleeps repeatedly.
        """
        self.now += seconds
        while self._sleepers and self._sleepers[0][0] <= self.now:
            _, _, wakeup = heapq.heappop(self._sleepers)
            if not wakeup.done():
                wakeup.set_result(None)

    async def sleep(self, seconds: float) -> None:
        """Return when the clock has moved this far."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        wakeup = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.now + seconds, next(self._order), wakeup))
        await wakeup

    async def run(self, seconds: float) -> None:
        """Move the clock from one sleeper to the next, and let tasks run at each."""
        end = self.now + seconds
        await self._settle()
        while self._sleepers and self._sleepers[0][0] <= end:
            self.advance(self._sleepers[0][0] - self.now)
            await self._settle()
        self.advance(end - self.now)
        await self._settle()

    async def _settle(self) -> None:
        for _ in range(SETTLE_ROUNDS):
            await asyncio.sleep(0)
