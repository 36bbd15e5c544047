"""The log of pages that could not be shown. It is limited, so that requests cannot fill the disk."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

import structlog

from .errors import ApiError, PortalError

__all__ = ["FailureLog"]

log = structlog.get_logger("clarion.portal")
_WINDOW_SECONDS = 60.0
_MAX_LINES = 10
"""Of each kind of failure in a window."""


class FailureLog:
    """Logs failures of pages: faults as errors, and what is wrong elsewhere, such as an outage, as warnings.

    Args:
        clock: Returns seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = clock()
        self._seen: Counter[str] = Counter()

    def log(self, error: Exception, path: str, request_id: str) -> None:
        """Log why a page could not be shown, unless this window has enough lines about the same kind."""
        self._begin_window()
        kind = error.reason if isinstance(error, ApiError) else type(error).__name__
        self._seen[kind] += 1
        if self._seen[kind] > _MAX_LINES:
            return
        if isinstance(error, PortalError):
            log.warning("page not shown", path=path, request_id=request_id, reason=kind)
        else:
            log.error("page failed", path=path, request_id=request_id, exc_info=error)

    def _begin_window(self) -> None:
        """Begin a new window if the last one is over, and log how many failures of each kind it left out."""
        now = self._clock()
        if now - self._began < _WINDOW_SECONDS:
            return
        for kind, count in self._seen.items():
            if count > _MAX_LINES:
                log.warning("more pages not shown", reason=kind, pages=count - _MAX_LINES)
        self._began = now
        self._seen.clear()
