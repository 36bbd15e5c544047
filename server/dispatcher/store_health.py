"""Whether a part of the store is available, and how long to wait before trying it again."""

from __future__ import annotations

import structlog

from ..errors import StoreUnavailable
from .redact import safe_traceback

__all__ = ["StoreHealth"]

FIRST_PAUSE = 0.1
"""Seconds to wait after the first failed call. The pause doubles with each further failure."""
LONGEST_PAUSE = 5.0
_MAX_DOUBLINGS = 10


class StoreHealth:
    """The health of one part of the store, logged when an outage begins and when it ends.

    Args:
        part: The part's name in the log.
    """

    def __init__(self, part: str) -> None:
        self._log = structlog.get_logger("clarion.dispatch").bind(part=part)
        self._failures = 0

    @property
    def pause(self) -> float:
        """Seconds to wait before the next call; 0 while the store is available."""
        if not self._failures:
            return 0.0
        pause: float = FIRST_PAUSE * 2 ** min(self._failures - 1, _MAX_DOUBLINGS)
        return min(pause, LONGEST_PAUSE)

    def failed(self, error: Exception) -> None:
        """Record that a call to the store failed."""
        self._failures += 1
        if not isinstance(error, StoreUnavailable):
            self._log.error("store_failed", exception=safe_traceback(error))
        elif self._failures == 1:
            self._log.warning("store_unavailable", error=str(error))

    def succeeded(self) -> None:
        """Record that a call to the store succeeded."""
        if self._failures:
            self._log.info("store_available", failed_calls=self._failures)
            self._failures = 0
