"""Statistics of messages: what is counted, and quantiles of the time to delivery from a histogram."""

from __future__ import annotations

import datetime as dt
import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = [
    "BUCKETS_OF_AN_OCTAVE",
    "HOUR",
    "KEPT",
    "MINUTE",
    "Counts",
    "Kind",
    "Window",
    "bucket_end",
    "quantile",
]

BUCKETS_OF_AN_OCTAVE = 2
"""Buckets in which the time to delivery doubles: a quantile is exact to 41 %, and mostly to 20 %."""
_FIRST = 0.001  # seconds; the end of bucket 0
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
MINUTE, HOUR = 60, 3600
KEPT: Mapping[int, int] = {MINUTE: 3 * 24 * HOUR, HOUR: 400 * 24 * HOUR}
"""For how many seconds the counts of each minute and of each hour are kept."""


class Kind(enum.StrEnum):
    """What is counted."""

    ACCEPTED = "accepted"
    """Triggers that were accepted."""
    DELIVERED = "delivered"
    """Messages that a provider accepted, by the time that it took."""
    FAILED = "failed"
    """Messages that were given up."""
    RETRIED = "retried"
    """Attempts that failed and are followed by another."""
    SUPPRESSED = "suppressed"
    """Messages that were not sent, because their recipient is suppressed."""
    CANCELLED = "cancelled"
    """Triggers that were cancelled before they were sent."""


@dataclass(slots=True)
class Counts:
    """How often each kind happened.

    Attributes:
        of: The numbers by kind.
        buckets: The numbers of delivered messages by the bucket of their time to delivery.
    """

    of: dict[Kind, int] = field(default_factory=dict)
    buckets: dict[int, int] = field(default_factory=dict)

    def add(self, kind: Kind, bucket: int, count: int) -> None:
        """Add a number of messages."""
        self.of[kind] = self.of.get(kind, 0) + count
        if kind is Kind.DELIVERED:
            self.buckets[bucket] = self.buckets.get(bucket, 0) + count


@dataclass(frozen=True, slots=True)
class Window:
    """The steps of a period until now; the last one is not over yet.

    Attributes:
        now: The time.
        period: Seconds.
        step: Seconds; a divisor of the period and a multiple of a minute.
    """

    now: dt.datetime
    period: int
    step: int

    @property
    def end(self) -> dt.datetime:
        """When the last step ends."""
        step = dt.timedelta(seconds=self.step)
        return _EPOCH + ((self.now - _EPOCH) // step + 1) * step

    @property
    def start(self) -> dt.datetime:
        """When the first step begins."""
        return self.end - dt.timedelta(seconds=self.period)

    @property
    def steps(self) -> list[dt.datetime]:
        """When each step begins."""
        return [self.start + dt.timedelta(seconds=n) for n in range(0, self.period, self.step)]


def bucket_end(bucket: int) -> float:
    """Return the longest time to delivery of a bucket, in seconds; see `count_changes` in rollup.sql."""
    return float(_FIRST * 2 ** (bucket / BUCKETS_OF_AN_OCTAVE))


def quantile(buckets: Mapping[int, int], share: float) -> float | None:
    """Return the time in seconds in which a share of the messages was delivered, or None without messages.

    Within a bucket, times are taken to be evenly distributed.
    """
    wanted = share * sum(buckets.values())
    below = 0
    for bucket in sorted(buckets):
        count = buckets[bucket]
        if count and below + count >= wanted:
            start = bucket_end(bucket - 1) if bucket else 0.0
            return start + (bucket_end(bucket) - start) * (wanted - below) / count
        below += count
    return None
