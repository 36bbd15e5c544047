"""Rate limits of keys and projects: so many calls a second, with a burst."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass

__all__ = ["NO_OWN_LIMIT", "Exceeded", "Limit", "OwnLimit", "RateLimiter"]

# Far below what a caller can measure, far above what rounding adds up to.
_TOLERANCE = 1e-6
_SWEPT_FIRST_AT = 1024


@dataclass(frozen=True, slots=True)
class Limit:
    """Calls a second, and calls at once. A rate of 0 means no limit."""

    rate: float
    burst: int

    def __str__(self) -> str:
        """Say it in words."""
        return f"{self.rate:g} calls a second with a burst of {self.burst}" if self.rate else "no limit"


@dataclass(frozen=True, slots=True)
class OwnLimit:
    """What a key or a project has of its own; None stands for the installation's default."""

    rate: float | None = None
    burst: int | None = None

    def over(self, default: Limit) -> Limit:
        """Return the limit that is in force."""
        if self.rate is None and self.burst is None:
            return default
        return Limit(
            default.rate if self.rate is None else self.rate,
            default.burst if self.burst is None else self.burst,
        )


NO_OWN_LIMIT = OwnLimit()


@dataclass(frozen=True, slots=True)
class Exceeded:
    """A limit that a call ran into (`key` or `project`), and the seconds until it has room for one call."""

    scope: str
    limit: Limit
    wait: float


@dataclass(slots=True)
class _Bucket:
    """A bucket as one call sees it; `interval` seconds bring a token, `depth` seconds fill it."""

    full_at: float
    interval: float
    depth: float

    def tokens(self, now: float, most: int) -> int:
        """Return how many whole tokens it has, at most so many."""
        room = now + self.depth - self.full_at + _TOLERANCE
        return min(most, math.floor(room / self.interval)) if self.interval else most

    def wait(self, now: float) -> float:
        """Return how long to wait for the next token, in seconds; less than nothing if it is there."""
        return self.full_at + self.interval - now - self.depth


class RateLimiter:
    """Token buckets of keys and projects; of each limit this process gives its share.

    A bucket is one number: the moment at which it will be full. How empty it is, is the time until then; so
    a bucket that was full long ago says no more than one that does not exist, and can be dropped. A changed
    share needs no conversion: a bucket that was half empty stays half empty.
    """

    def __init__(
        self, per_key: Limit, per_project: Limit, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Take the limits of keys and projects that have none of their own, and a clock in seconds."""
        self._per_key = per_key
        self._per_project = per_project
        self._clock = clock
        self._processes = 1
        self._full_at: dict[Hashable, float] = {}
        self._sweep_above = _SWEPT_FIRST_AT

    def share_among(self, processes: int) -> None:
        """Give one of so many equal shares of each limit from now on."""
        self._processes = processes

    def of_key(self, own: OwnLimit) -> Limit:
        """Return the limit of a key."""
        return own.over(self._per_key)

    def of_project(self, own: OwnLimit) -> Limit:
        """Return the limit of a project."""
        return own.over(self._per_project)

    def take(
        self, key: Hashable, of_key: Limit, project: Hashable, of_project: Limit
    ) -> tuple[Exceeded, ...]:
        """Take a token of both buckets; or, if one has none, none at all, and tell what is exceeded."""
        return self.take_up_to(1, key, of_key, project, of_project)[1]

    def take_up_to(
        self, wanted: int, key: Hashable, of_key: Limit, project: Hashable, of_project: Limit
    ) -> tuple[int, tuple[Exceeded, ...]]:
        """Take as many tokens as both buckets have, at most `wanted`.

        Returns how many were taken, and what is exceeded if that is fewer.
        """
        if not (of_key.rate or of_project.rate):
            return wanted, ()
        now = self._clock()
        buckets = (
            ("key", of_key, self._bucket(key, of_key, now)),
            ("project", of_project, self._bucket(project, of_project, now)),
        )
        taken = min(bucket.tokens(now, wanted) for _, _, bucket in buckets)
        for name, (_, _, bucket) in zip((key, project), buckets, strict=True):
            bucket.full_at += taken * bucket.interval
            self._keep(name, bucket.full_at, now)
        if taken == wanted:
            return taken, ()
        waits = (Exceeded(scope, limit, bucket.wait(now)) for scope, limit, bucket in buckets)
        return taken, tuple(exceeded for exceeded in waits if exceeded.wait > _TOLERANCE)

    def __len__(self) -> int:
        """Return how many buckets are kept."""
        return len(self._full_at)

    def _bucket(self, name: Hashable, limit: Limit, now: float) -> _Bucket:
        if not limit.rate:
            return _Bucket(now, 0.0, math.inf)
        interval = self._processes / limit.rate
        depth = interval * max(1.0, limit.burst / self._processes)
        # Emptier than empty: the limit was another when it was written.
        full_at = min(max(self._full_at.get(name, now), now), now + depth)
        return _Bucket(full_at, interval, depth)

    def _keep(self, name: Hashable, full_at: float, now: float) -> None:
        if full_at <= now:
            return
        self._full_at[name] = full_at
        if len(self._full_at) > self._sweep_above:
            self._full_at = {name: full_at for name, full_at in self._full_at.items() if full_at > now}
            self._sweep_above = max(_SWEPT_FIRST_AT, 2 * len(self._full_at))
