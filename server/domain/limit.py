"""Token buckets: so many calls a second, with a burst."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable

__all__ = ["TokenBuckets"]


class TokenBuckets:
    """One bucket for each name. A rate of 0 means no limit.

    Names come from known keys only, so their number is bounded by the number of keys.
    """

    def __init__(self, rate: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        """Take tokens a second, the bucket's size, and a clock in seconds."""
        self._rate = rate
        self._burst = burst
        self._clock = clock
        self._buckets: dict[Hashable, tuple[float, float]] = {}

    def take(self, name: Hashable) -> float:
        """Take a token; return 0, or the seconds until there is one."""
        if not self._rate:
            return 0.0
        now = self._clock()
        tokens, filled_at = self._buckets.get(name, (float(self._burst), now))
        tokens = min(self._burst, tokens + (now - filled_at) * self._rate)
        if tokens < 1:
            self._buckets[name] = (tokens, now)
            return (1 - tokens) / self._rate
        self._buckets[name] = (tokens - 1, now)
        return 0.0
