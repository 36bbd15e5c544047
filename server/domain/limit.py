"""Rate limits of keys and projects: calls per second, with a burst."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass

from .token_bucket import TOLERANCE, TokenBucket

__all__ = ["NO_OWN_LIMIT", "Exceeded", "Limit", "OwnLimit", "RateLimiter"]

_FIRST_SWEEP = 1024
"""Number of stored buckets above which full ones are first removed."""


@dataclass(frozen=True, slots=True)
class Limit:
    """Calls per second (`rate`) and in one burst (`burst`). A rate of 0 means no limit."""

    rate: float
    burst: int

    def __str__(self) -> str:
        """Return the limit in words."""
        return f"{self.rate:g} calls a second with a burst of {self.burst}" if self.rate else "no limit"


@dataclass(frozen=True, slots=True)
class OwnLimit:
    """A key's or project's own limit; None means the installation's default."""

    rate: float | None = None
    burst: int | None = None

    def over(self, default: Limit) -> Limit:
        """Return this limit, with the parts that are not set taken from `default`."""
        if self.rate is None and self.burst is None:
            return default
        return Limit(
            default.rate if self.rate is None else self.rate,
            default.burst if self.burst is None else self.burst,
        )


NO_OWN_LIMIT = OwnLimit()


@dataclass(frozen=True, slots=True)
class Exceeded:
    """An exceeded limit: its scope (`key` or `project`) and the seconds until it allows one more call."""

    scope: str
    limit: Limit
    wait: float


class RateLimiter:
    """Token buckets of keys and projects; each process grants its share of every limit.

    Only buckets that are not full are stored. When the share changes, they need no conversion, because the
    time that a bucket takes to fill does not depend on the share.

    Args:
        per_key: The limit of keys without a separate one.
        per_project: The limit of projects without a separate one.
        clock: Returns monotonic seconds.
    """

    def __init__(
        self, per_key: Limit, per_project: Limit, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._per_key = per_key
        self._per_project = per_project
        self._clock = clock
        self._processes = 1
        self._full_at: dict[Hashable, float] = {}
        self._sweep_above = _FIRST_SWEEP

    def share_among(self, processes: int) -> None:
        """Set the number of processes among which each limit is divided equally."""
        self._processes = processes

    def of_key(self, own: OwnLimit) -> Limit:
        """Return the limit of a key."""
        return own.over(self._per_key)

    def of_project(self, own: OwnLimit) -> Limit:
        """Return the limit of a project."""
        return own.over(self._per_project)

    def take_up_to(
        self, wanted: int, key: Hashable, of_key: Limit, project: Hashable, of_project: Limit
    ) -> tuple[int, tuple[Exceeded, ...]]:
        """Consume as many tokens as both buckets have, at most `wanted`.

        Returns:
            The number of tokens taken, and the exceeded limits if it is less than `wanted`.
        """
        if not (of_key.rate or of_project.rate):
            return wanted, ()
        now = self._clock()
        buckets = (
            ("key", of_key, self._bucket(key, of_key, now)),
            ("project", of_project, self._bucket(project, of_project, now)),
        )
        taken = min(bucket.tokens(now, wanted) for _, _, bucket in buckets)
        for owner, (_, _, bucket) in zip((key, project), buckets, strict=True):
            bucket.take(now, taken)
            self._store(owner, bucket.full_at, now)
        if taken == wanted:
            return taken, ()
        waits = (Exceeded(scope, limit, bucket.wait(now)) for scope, limit, bucket in buckets)
        return taken, tuple(exceeded for exceeded in waits if exceeded.wait > TOLERANCE)

    def __len__(self) -> int:
        """Return the number of buckets kept."""
        return len(self._full_at)

    def _bucket(self, owner: Hashable, limit: Limit, now: float) -> TokenBucket:
        share = limit.rate / self._processes
        bucket = TokenBucket(share, max(1.0, limit.burst / self._processes), now)
        # A level that was stored under an earlier limit can be below empty under this one.
        bucket.full_at = min(self._full_at.get(owner, now), now + bucket.fill_time)
        return bucket

    def _store(self, owner: Hashable, full_at: float, now: float) -> None:
        if full_at <= now:
            return
        self._full_at[owner] = full_at
        if len(self._full_at) > self._sweep_above:
            self._full_at = {owner: full_at for owner, full_at in self._full_at.items() if full_at > now}
            self._sweep_above = max(_FIRST_SWEEP, 2 * len(self._full_at))
