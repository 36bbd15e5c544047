"""Envoy's log lines about spans that it could not post, which it repeats for every post."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["ExportErrors"]

WINDOW_SECONDS = 60.0
_MARK = "[error][tracing]"
_SOURCE = "] "


class ExportErrors:
    """Replaces such lines by one that operators understand, at most once in each window.

    Args:
        clock: Measures the window in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._next = 0.0
        self._left_out = 0

    def replaced(self, line: str) -> str:
        """Return the line to relay, or an empty string for none. Lines about anything else are unchanged."""
        if _MARK not in line:
            return line
        now = self._clock()
        if now < self._next:
            self._left_out += 1
            return ""
        again = f" ({self._left_out} more times since the last such line)" if self._left_out else ""
        self._next, self._left_out = now + WINDOW_SECONDS, 0
        reason = line.rpartition(_SOURCE)[2]
        return (
            f"the gateway's spans are lost, because the collector did not accept them; check "
            f"OTEL_EXPORTER_OTLP_ENDPOINT and the collector{again}: {reason}"
        )
