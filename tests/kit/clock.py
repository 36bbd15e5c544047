"""A clock for tests: time passes only when the test says so."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import heapq
import itertools
from collections.abc import AsyncIterator, Callable

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

    def monotonic(self) -> float:
        """Return the reading in seconds."""
        return self.now

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

    @contextlib.asynccontextmanager
    async def timeout(self, seconds: float | None) -> AsyncIterator[None]:
        """Cancel the block when the clock has moved this far, as `asyncio.timeout` does; None: never."""
        async with asyncio.timeout(None) as scope:
            timer = asyncio.create_task(self._expire(scope, seconds)) if seconds is not None else None
            try:
                yield
            finally:
                if timer:
                    timer.cancel()

    async def _expire(self, scope: asyncio.Timeout, seconds: float) -> None:
        await self.sleep(seconds)
        scope.reschedule(asyncio.get_running_loop().time())

    async def run_until(self, condition: Callable[[], bool], within: float = 10.0) -> None:
        """Move the clock from one sleeper to the next until the condition holds.

        Raises:
            TimeoutError: It does not hold within this many seconds of the clock.
        """
        end = self.now + within
        await self._settle(condition)
        while not condition():
            self._drop_cancelled()
            if not self._sleepers or self._sleepers[0][0] > end:
                raise TimeoutError
            self.advance(max(0.0, self._sleepers[0][0] - self.now))
            await self._settle(condition)

    def _drop_cancelled(self) -> None:
        while self._sleepers and self._sleepers[0][2].done():
            heapq.heappop(self._sleepers)

    async def run(self, seconds: float) -> None:
        """Move the clock from one sleeper to the next, and let tasks run at each."""
        end = self.now + seconds
        await self._settle()
        while self._sleepers and self._sleepers[0][0] <= end:
            self.advance(self._sleepers[0][0] - self.now)
            await self._settle()
        self.advance(end - self.now)
        await self._settle()

    async def _settle(self, condition: Callable[[], bool] = lambda: False) -> None:
        """Let tasks run until all of them wait, or until the condition holds."""
        # The queue of what can run now: asyncio has no public name for it.
        ready = asyncio.get_running_loop()._ready  # type: ignore[attr-defined]
        for number in itertools.count():
            if condition() or (number >= SETTLE_ROUNDS and not ready):
                return
            await asyncio.sleep(0)
