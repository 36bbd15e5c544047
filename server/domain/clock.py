"""The clock, which is passed as an argument so that tests can control time."""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from contextlib import AbstractAsyncContextManager
from typing import Protocol

__all__ = ["SYSTEM_CLOCK", "Clock"]


class Clock(Protocol):
    """Measures time, and waits."""

    def monotonic(self) -> float:
        """Return seconds since an arbitrary moment; setting the system clock does not change it."""
        ...

    def utc(self) -> dt.datetime:
        """Return the current time in UTC; it jumps when the system clock is set."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after this many seconds."""
        ...

    def timeout(self, seconds: float | None) -> AbstractAsyncContextManager[object]:
        """Return a context manager that cancels its block after this many seconds; None means never.

        Raises:
            TimeoutError: When the block exits, if the time ran out.
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
