"""One dispatcher's share of a provider's configured rate. It does no I/O and reads no clock."""

from __future__ import annotations

from ..domain.token_bucket import TokenBucket

__all__ = ["ProviderRate"]

BURST_SECONDS = 0.1
"""The burst, as seconds at full rate. It lets a dispatcher claim several messages at once at high rates."""


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
        """Limit this dispatcher to an equal share of the rate.

        Args:
            dispatchers: The number of dispatchers that share the rate.
            now: The current time.
        """
        share = self._rate / max(1, dispatchers)
        self._bucket.resize(share, _burst(share), now)

    def room(self, now: float, slots: int) -> int:
        """Return how many of `slots` free slots may be used at `now`."""
        return max(0, self._bucket.tokens(now, slots))

    def take(self, now: float, count: int = 1) -> None:
        """Count messages toward the rate; a negative number undoes that for messages that were not sent."""
        self._bucket.take(now, count)

    def wait(self, now: float) -> float:
        """Return the seconds until one message may be sent."""
        return self._bucket.wait(now)


def _burst(rate: float) -> float:
    return max(1.0, rate * BURST_SECONDS)
