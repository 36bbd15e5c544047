"""Decides when to restart a child that died. It does no I/O and reads no clock."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["RestartPolicy"]


@dataclass(frozen=True, kw_only=True, slots=True)
class RestartPolicy:
    """Exponential backoff with a limit. Times in seconds.

    Attributes:
        first: delay after the first death.
        longest: maximum delay.
        steady_after: after a child has lived this long, its next death counts as the first.
        quick_deaths: after this many consecutive deaths, each before `steady_after`, the supervisor gives up.
        retry: delay after a death with an obstacle, which does not count.
    """

    first: float = 0.5
    longest: float = 10.0
    steady_after: float = 30.0
    quick_deaths: int = 5
    retry: float = 3.0

    def count(self, before: int, lived: float) -> int:
        """Return the number of consecutive deaths, the latest included.

        Args:
            before: consecutive deaths before the latest.
            lived: how many seconds the child lived before the latest.
        """
        return 1 if lived >= self.steady_after else before + 1

    def delay(self, deaths: int) -> float | None:
        """Return the delay before the next start after this many consecutive deaths; None: give up."""
        if deaths >= self.quick_deaths:
            return None
        return min(self.longest, self.first * 2.0 ** (deaths - 1))
