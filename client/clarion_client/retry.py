"""When a call is tried again, and until when.

Every call may be tried again: a trigger carries its `request_id` through all tries, cancelling twice is
cancelling once, and the others read. So the error alone decides, and the deadline.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping

from .errors import ClarionError, TimedOut, final

__all__ = ["FACTOR", "FIRST", "LEAST", "LONGEST", "Tries", "limit", "pause"]

FIRST = 0.1
"""Seconds: the longest pause after the first failure."""
FACTOR = 2.0
LONGEST = 2.0
_LITTLE = 1.0
LEAST = 0.1
"""Seconds that another try must have: with less it would hardly be answered, and a trigger that had been
clearly refused would become one of which nobody knows."""
_ENOUGH = 10  # by then it is the longest


def pause(
    error: ClarionError, failed: int, left: float, chance: Callable[[], float] = random.random
) -> float | None:
    """Return the seconds to wait before the next try, or None if there is to be none.

    Exponential with full jitter, on top of what the answer asked for. `failed` is how many tries failed
    before this one, and `left` the seconds until the deadline: a pause that leaves no time for a try is not
    begun.
    """
    if not error.passing:
        return None
    longest = min(LONGEST, FIRST * FACTOR ** min(failed, _ENOUGH))
    seconds = (error.retry_after or 0.0) + chance() * longest
    return seconds if seconds + LEAST < left else None


def limit(left: float) -> float:
    """Return the seconds that the next try may take, of those until the deadline.

    It is half of them, so that a server that hangs leaves time to ask another; or all, when little is left.
    """
    return left / 2 if left > _LITTLE else left


class Tries:
    """The tries of one call within its deadline."""

    def __init__(self, timeout: float, *, whole: bool = False) -> None:
        """Take the seconds for all tries together.

        `whole`: a try may take all of them, and what took too long is not tried again. That is for calls
        whose answer may take long itself: another try would take as long.
        """
        self._deadline = time.monotonic() + timeout
        self._whole = whole
        self._failed = 0
        self._last: ClarionError | None = None

    @property
    def left(self) -> float:
        """Seconds until the deadline; 0 when it is past."""
        return max(0.0, self._deadline - time.monotonic())

    @property
    def are_over(self) -> bool:
        """Whether too little time is left for another one."""
        return self._failed > 0 and self.left < LEAST

    @property
    def limit(self) -> float:
        """Seconds that the next try may take."""
        return self.left if self._whole else limit(self.left)

    def pause(self, error: ClarionError) -> float | None:
        """Return the seconds to wait before the next try, or None if there is to be none."""
        if self._whole and isinstance(error, TimedOut):
            return None
        seconds = pause(error, self._failed, self.left)
        self._failed += 1
        if seconds is not None:
            self._last = error
        return seconds

    def final(self, error: ClarionError) -> ClarionError:
        """Return the error to raise when there is no further try."""
        return final(error, self._last)

    def pauses(self, outcomes: Mapping[int, object]) -> dict[int, float]:
        """Return the seconds to wait for each of those that are to be tried again."""
        left, failed = self.left, self._failed
        self._failed += 1
        pauses = {
            place: pause(outcome, failed, left)
            for place, outcome in outcomes.items()
            if isinstance(outcome, ClarionError)
        }
        return {place: seconds for place, seconds in pauses.items() if seconds is not None}
