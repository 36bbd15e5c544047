"""A provider's circuit breaker: stops sending to it while it is down, and probes whether it recovered. Pure.

It is closed until a number of attempts in a row failed because of the provider. Then it is open, and nothing
is sent for a time. Then it is half-open: one message probes. Success closes it; failure opens it for twice as
long.
"""

from __future__ import annotations

import enum

__all__ = ["Breaker", "BreakerState"]

LONGEST_PAUSE = 300.0
"""Seconds, unless the first pause is longer; so a provider that was down for hours is soon used again."""


class BreakerState(enum.StrEnum):
    """Whether messages may pass."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Breaker:
    """One provider's breaker in one dispatcher. All times are seconds of one monotonic clock.

    Args:
        failures: Consecutive failures that open the breaker; 0: it never opens.
        pause: Seconds for which it is open the first time.
    """

    def __init__(self, failures: int, pause: float) -> None:
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
        """When an open breaker allows a probe; None while it is closed."""
        return self._reopens_at

    def room(self, now: float, slots: int) -> int:
        """Return how many of the free slots may be used at `now`."""
        state = self.state(now)
        if state is BreakerState.CLOSED:
            return slots
        return min(slots, 1) if state is BreakerState.HALF_OPEN and not self._probing else 0

    def started(self, now: float) -> None:
        """Record that a message is being sent."""
        if self.state(now) is BreakerState.HALF_OPEN:
            self._probing = True

    def succeeded(self) -> bool:
        """Record that the provider works; return whether that closed the breaker."""
        was_open = self._reopens_at is not None
        self._failures, self._pause, self._reopens_at, self._probing = 0, self._first_pause, None, False
        return was_open

    def failed(self, now: float, retry_after: float = 0.0) -> bool:
        """Record a failure of the provider; return whether that opened the breaker.

        Failures of messages that were sent before it opened change nothing.

        Args:
            now: The current time.
            retry_after: Seconds that the provider asked to wait; the breaker is open for at least as long.
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
        """Record that a message ended without evidence about the provider: another one may probe."""
        self._probing = False
