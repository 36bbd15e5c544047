"""A circuit breaker, which stops sending to a provider while it is down. It does no I/O and reads no clock.

While it is closed, messages are sent. After a number of consecutive failures of the provider it opens, and
nothing is sent for a while. Then it is half-open: one message is sent as a probe. If that succeeds, the
breaker closes; if it fails, the breaker opens again for twice as long.
"""

from __future__ import annotations

import enum

__all__ = ["Breaker", "BreakerState"]

LONGEST_PAUSE = 300.0
"""Maximum pause in seconds, unless the first pause is longer. It limits the delay after a long outage."""


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
        self._probe_at: float | None = None
        self._probing = False

    def state(self, now: float) -> BreakerState:
        """Return the state at `now`."""
        if self._probe_at is None:
            return BreakerState.CLOSED
        return BreakerState.OPEN if now < self._probe_at else BreakerState.HALF_OPEN

    @property
    def probe_at(self) -> float | None:
        """When the breaker allows or allowed a probe; None while it is closed."""
        return self._probe_at

    def room(self, now: float, slots: int) -> int:
        """Return how many of `slots` free slots may be used at `now`."""
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
        was_open = self._probe_at is not None
        self._failures, self._pause, self._probe_at, self._probing = 0, self._first_pause, None, False
        return was_open

    def failed(self, now: float, retry_after: float = 0.0) -> bool:
        """Record a failure of the provider; return whether that opened the breaker.

        A failure does not prolong an open state, because its message was sent before the breaker opened.

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
        self._probe_at = now + min(max(self._pause, retry_after), self._longest_pause)
        return True

    def abandoned(self) -> None:
        """Record that the result of a message says nothing about the provider, so another one may probe."""
        self._probing = False
