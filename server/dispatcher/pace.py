"""Measures how long sends through a provider take."""

from __future__ import annotations

import itertools
import statistics
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["Pace"]

_LATELY = 30.0
"""Seconds for which an ended send counts."""
_MOST = 200
"""Number of ended sends that count at most."""


class Pace:
    """The duration of sends that are in progress or ended lately.

    Those in progress count with the time since they began: through a provider that hangs, none ends.

    Args:
        now: Returns monotonic seconds.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._numbers = itertools.count()
        self._begun: dict[int, float] = {}
        self._ended: deque[tuple[float, float]] = deque(maxlen=_MOST)
        """When each ended, and how long it took."""

    @contextmanager
    def measured(self) -> Iterator[None]:
        """Measure the block as one send."""
        number, begun = next(self._numbers), self._now()
        self._begun[number] = begun
        try:
            yield
        finally:
            del self._begun[number]
            ended = self._now()
            self._ended.append((ended, ended - begun))

    @property
    def median(self) -> float:
        """The median duration in seconds; 0 if nothing was sent lately."""
        now = self._now()
        seconds = [now - begun for begun in self._begun.values()]
        seconds += [taken for at, taken in self._ended if now - at <= _LATELY]
        return statistics.median(seconds) if seconds else 0.0
