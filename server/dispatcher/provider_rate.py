"""How fast a provider may be used: messages a second, of which each dispatcher takes its share. Pure."""

from __future__ import annotations

__all__ = ["Pace"]

BURST_SECONDS = 0.1
"""What may leave at once after a pause, as a time at full rate: enough not to lose pace to one claim."""


class Pace:
    """A token bucket. All times are seconds of one monotonic clock."""

    def __init__(self, rate: float) -> None:
        """Take the messages a second of all dispatchers together; 0: no limit."""
        self._rate = rate
        self._sharers = 1
        self._tokens = 1.0
        self._at: float | None = None

    def share_among(self, dispatchers: int) -> None:
        """Take one of so many equal shares from now on."""
        self._sharers = max(1, dispatchers)

    def room(self, now: float, slots: int) -> int:
        """Return how many of the free slots may be used at `now`."""
        if not self._rate:
            return slots
        self._fill(now)
        return min(slots, int(self._tokens))

    def took(self, count: int = 1) -> None:
        """Note that so many messages leave; a negative number gives back what did not."""
        if self._rate:
            self._tokens -= count

    def wait(self, now: float) -> float:
        """Return the seconds until there is room for one message."""
        if not self._rate:
            return 0.0
        self._fill(now)
        return max(0.0, (1.0 - self._tokens) / self._own_rate)

    @property
    def _own_rate(self) -> float:
        return self._rate / self._sharers

    def _fill(self, now: float) -> None:
        gained = (now - self._at) * self._own_rate if self._at is not None else 0.0
        depth = max(1.0, self._own_rate * BURST_SECONDS)
        self._tokens = min(self._tokens + max(0.0, gained), depth)
        self._at = now
