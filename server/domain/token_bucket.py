"""Token buckets, which enforce callers' limits and providers' rates. Pure: callers pass the time."""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["TOLERANCE", "TokenBucket"]

TOLERANCE = 1e-6
"""Seconds: too short for a caller to measure, but much longer than accumulated rounding errors."""


@dataclass(slots=True)
class TokenBucket:
    """A bucket that fills at `rate` tokens per second and holds at most `burst`; a rate of 0 means no limit.

    The level is stored as `full_at`, the time at which the bucket will be full. After that time, the bucket
    equals a new one and need not be kept. All times are seconds of one monotonic clock.
    """

    rate: float
    burst: float
    full_at: float

    @property
    def fill_time(self) -> float:
        """Seconds that an empty bucket takes to fill; 0 without a limit."""
        return self.burst / self.rate if self.rate else 0.0

    def tokens(self, now: float, most: int) -> int:
        """Return the number of whole tokens in the bucket, at most `most`."""
        if not self.rate:
            return most
        available = self.fill_time - max(0.0, self.full_at - now) + TOLERANCE
        return min(most, math.floor(available * self.rate))

    def take(self, now: float, count: float = 1) -> None:
        """Remove tokens, even if the bucket has fewer; a negative count puts tokens back."""
        if self.rate:
            self.full_at = max(self.full_at, now) + count / self.rate

    def wait(self, now: float) -> float:
        """Return the seconds until the bucket has a token, 0 if it has one."""
        if not self.rate:
            return 0.0
        return max(0.0, max(self.full_at, now) + 1 / self.rate - now - self.fill_time)

    def resize(self, rate: float, burst: float, now: float) -> None:
        """Change rate and burst; a bucket that is half full stays half full."""
        if self.rate and rate:
            missing = max(0.0, self.full_at - now) / self.fill_time
            self.full_at = now + missing * burst / rate
        self.rate, self.burst = rate, burst
