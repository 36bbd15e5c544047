"""The metrics of accepting triggers."""

from __future__ import annotations

from collections.abc import Callable

from ...metrics import LoopHistogram, counter, gauge

__all__ = ["commit_failed", "committed", "watch_pending"]

_TRIGGERS = LoopHistogram(
    "clarion_commit_triggers",
    "Triggers in a commit. The sum is the number of accepted triggers, repeated calls included.",
    buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500, 1000),
)
_SECONDS = LoopHistogram(
    "clarion_commit_seconds",
    "Duration of commits of triggers.",
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)
_TRIGGERS_SEEN, _SECONDS_SEEN = _TRIGGERS.labels(), _SECONDS.labels()
_FAILED = counter("clarion_commits_failed", "Commits of triggers that failed because of the database.")
_PENDING = gauge(
    "clarion_pending_triggers", "Triggers that wait for their commit; server.max_pending bounds them."
)


def committed(triggers: int, seconds: float) -> None:
    """Count a commit."""
    _TRIGGERS_SEEN.observe(triggers)
    _SECONDS_SEEN.observe(seconds)


def commit_failed() -> None:
    """Count a commit that failed."""
    _FAILED.inc()


def watch_pending(pending: Callable[[], int]) -> None:
    """Report the number of waiting triggers whenever the metrics are read."""
    _PENDING.set_function(pending)
