"""When to retry a call, and until when.

Every call is safe to repeat: the attempts to send a trigger share its `request_id`, cancelling twice has no
further effect, and all other calls only read. So retrying depends only on the error and the deadline.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping

from .errors import ClarionError, TimedOut, final

__all__ = ["MIN_ATTEMPT", "Retries", "attempt_timeout", "pause_before_retry"]

_FIRST_PAUSE = 0.1
"""Seconds: the upper bound of the pause after the first failure."""
_GROWTH = 2.0
_LONGEST_PAUSE = 2.0
_ENOUGH_FAILURES = 10  # from here on the pause no longer grows
MIN_ATTEMPT = 0.1
"""Seconds that must be left for another attempt. A shorter one would probably time out, and the caller would
get "outcome unknown" instead of the definite error of the attempt before."""
_SHORT = 1.0
"""Seconds. With less time left, an attempt may use all of it."""


def pause_before_retry(
    error: ClarionError, failures: int, left: float, chance: Callable[[], float] = random.random
) -> float | None:
    """Return the seconds to wait before the next attempt, or None if there must not be one.

    The pause is what the response asked for, plus exponential backoff with full jitter.

    Args:
        error: The error of the last attempt.
        failures: Number of failed attempts before that one.
        left: Seconds until the deadline. There is no retry if the pause would leave no time for an attempt.
        chance: Returns a random number from 0 to 1.
    """
    if not error.retryable:
        return None
    longest = min(_LONGEST_PAUSE, _FIRST_PAUSE * _GROWTH ** min(failures, _ENOUGH_FAILURES))
    seconds = (error.retry_after or 0.0) + chance() * longest
    return seconds if seconds + MIN_ATTEMPT < left else None


def attempt_timeout(left: float) -> float:
    """Return the seconds that the next attempt may take, of those left until the deadline.

    It is half of them, so that time is left to try another server if this one hangs; or all, if few are left.
    """
    return left / 2 if left > _SHORT else left


class Retries:
    """The attempts of one call until its deadline."""

    def __init__(self, timeout: float, *, may_use_all: bool = False) -> None:
        """Start the clock.

        Args:
            timeout: Seconds for all attempts together.
            may_use_all: Whether an attempt may use all the time, in which case a timeout is not retried: for
                calls that can take long to answer, because the next attempt would take just as long.
        """
        self._deadline = time.monotonic() + timeout
        self._may_use_all = may_use_all
        self._failures = 0
        self._last: ClarionError | None = None

    @property
    def left(self) -> float:
        """Seconds until the deadline, at least 0."""
        return max(0.0, self._deadline - time.monotonic())

    @property
    def are_over(self) -> bool:
        """Whether too little time is left for another attempt."""
        return self._failures > 0 and self.left < MIN_ATTEMPT

    @property
    def attempt_timeout(self) -> float:
        """Seconds that the next attempt may take."""
        return self.left if self._may_use_all else attempt_timeout(self.left)

    def pause(self, error: ClarionError) -> float | None:
        """Return the seconds to wait before the next attempt, or None if there must not be one."""
        if self._may_use_all and isinstance(error, TimedOut):
            return None
        seconds = pause_before_retry(error, self._failures, self.left)
        self._failures += 1
        if seconds is not None:
            self._last = error
        return seconds

    def pause_or_raise(self, error: ClarionError, cause: Exception) -> float:
        """Return the seconds to wait before the next attempt.

        Args:
            error: The error of the last attempt.
            cause: The exception that it was made from.

        Raises:
            ClarionError: There must not be another attempt.
        """
        previous = self._last
        seconds = self.pause(error)
        if seconds is None:
            raise final(error, previous) from cause
        return seconds

    def pauses(self, outcomes: Mapping[int, object]) -> dict[int, float]:
        """Return the seconds to wait before each retry, of those outcomes that must be retried."""
        left, failures = self.left, self._failures
        self._failures += 1
        pauses = {
            index: pause_before_retry(outcome, failures, left)
            for index, outcome in outcomes.items()
            if isinstance(outcome, ClarionError)
        }
        return {index: seconds for index, seconds in pauses.items() if seconds is not None}
