"""The passage of time as an argument, so that tests can control it."""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from contextlib import AbstractAsyncContextManager
from typing import Protocol

__all__ = ["SYSTEM_CLOCK", "Clock"]


class Clock(Protocol):
    """Measures and waits for time."""

    def monotonic(self) -> float:
        """Return seconds since some fixed moment; never affected by setting the system clock."""
        ...

    def utc(self) -> dt.datetime:
        """Return the time of day; it can jump when the system clock is set."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after this many seconds."""
        ...

    def timeout(self, seconds: float | None) -> AbstractAsyncContextManager[object]:
        """Return a context manager that cancels its block after this many seconds; None: never.

        Raises:
            TimeoutError: On exit, if the block was cancelled for that reason.
        """
        ...


class _SystemClock:
    """The operating system's clocks and the event loop's timers."""

    monotonic = staticmethod(time.monotonic)
    sleep = staticmethod(asyncio.sleep)
    timeout = staticmethod(asyncio.timeout)

    @staticmethod
    def utc() -> dt.datetime:
        return dt.datetime.now(dt.UTC)


SYSTEM_CLOCK: Clock = _SystemClock()
