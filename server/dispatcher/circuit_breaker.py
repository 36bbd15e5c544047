"""A provider's circuit breaker: leaves it alone while it is out of order, and sees when it is back. Pure.

Closed, until so many attempts in a row failed for the provider's sake. Then open: nothing is sent for a time.
Then half-open: one message tries; a success closes the breaker, a failure opens it for twice as long.
"""

from __future__ import annotations

import enum

__all__ = ["Breaker", "BreakerState"]

LONGEST_PAUSE = 300.0
"""Seconds, unless the first pause is longer; a provider that was away for hours is soon noticed again."""


class BreakerState(enum.StrEnum):
    """Whether messages may pass."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Breaker:
    """One provider's breaker, as one dispatcher sees it. All times are seconds of one monotonic clock."""

    def __init__(self, failures: int, pause: float) -> None:
        """Take the failures in a row that open it (0: it never opens) and its first pause."""
        self._limit = failures
        self._first_pause = pause
        self._longest_pause = max(pause, LONGEST_PAUSE)
        self._pause = pause
        self._failures = 0
        self._reopens_at: float | None = None
        self._probing = False

    def state(self, now: float) -> BreakerState:
        """Return the state at `now`."""
        if self._reopens_at is None:
            return BreakerState.CLOSED
        return BreakerState.OPEN if now < self._reopens_at else BreakerState.HALF_OPEN

    @property
    def reopens_at(self) -> float | None:
        """When an open breaker lets a message try; None while it is closed."""
        return self._reopens_at

    def room(self, now: float, slots: int) -> int:
        """Return how many of the free slots may be used at `now`."""
        state = self.state(now)
        if state is BreakerState.CLOSED:
            return slots
        return min(slots, 1) if state is BreakerState.HALF_OPEN and not self._probing else 0

    def started(self, now: float) -> None:
        """Note that a message is on its way."""
        if self.state(now) is BreakerState.HALF_OPEN:
            self._probing = True

    def succeeded(self) -> bool:
        """Note that the provider works; return whether that closed the breaker."""
        was_open = self._reopens_at is not None
        self._failures, self._pause, self._reopens_at, self._probing = 0, self._first_pause, None, False
        return was_open

    def failed(self, now: float, retry_after: float = 0.0) -> bool:
        """Note a failure of the provider; return whether that opened the breaker.

        Failures of what was sent before it opened change nothing any more.
        """
        state = self.state(now)
        self._failures += 1
        if state is BreakerState.OPEN or not self._limit:
            return False
        if state is BreakerState.HALF_OPEN:
            if not self._probing:
                return False
            self._pause = min(self._pause * 2, self._longest_pause)
        elif self._failures < self._limit:
            return False
        self._probing = False
        self._reopens_at = now + min(max(self._pause, retry_after), self._longest_pause)
        return True

    def abandoned(self) -> None:
        """Note that a message ended without a word about the provider: another one may try."""
        self._probing = False
