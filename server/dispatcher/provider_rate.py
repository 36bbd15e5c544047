"""The rate at which one dispatcher may use a provider: its share of the configured rate. Pure."""

from __future__ import annotations

from ..domain.token_bucket import TokenBucket

__all__ = ["ProviderRate"]

BURST_SECONDS = 0.1
"""Seconds at full rate that may be sent at once after a pause, so that one claim does not lose throughput."""


class ProviderRate:
    """A provider's messages per second. All times are seconds of one monotonic clock.

    Args:
        rate: Messages per second of all dispatchers together; 0 means no limit.
        now: The current time. The first message may be sent at once, further ones at the rate.
    """

    def __init__(self, rate: float, now: float) -> None:
        self._rate = rate
        self._bucket = TokenBucket(rate, _burst(rate), now)
        self._bucket.take(now, self._bucket.burst - 1)

    def share_among(self, dispatchers: int, now: float) -> None:
        """Use one of this many equal shares from now on."""
        share = self._rate / max(1, dispatchers)
        self._bucket.resize(share, _burst(share), now)

    def room(self, now: float, slots: int) -> int:
        """Return how many of the free slots may be used at `now`."""
        return max(0, self._bucket.tokens(now, slots))

    def take(self, now: float, count: int = 1) -> None:
        """Count messages that are sent; a negative number returns those that were not sent after all."""
        self._bucket.take(now, count)

    def wait(self, now: float) -> float:
        """Return the seconds until one message may be sent."""
        return self._bucket.wait(now)


def _burst(rate: float) -> float:
    return max(1.0, rate * BURST_SECONDS)
