"""When a child that died is started again: pure decisions."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["RestartPolicy"]


@dataclass(frozen=True, kw_only=True, slots=True)
class RestartPolicy:
    """Back-off that doubles, and an end to it. Times in seconds.

    Attributes:
        first: the delay after the first death.
        longest: no delay is longer.
        steady_after: a child that lived this long starts with a clean slate.
        quick_deaths: so many deaths in a row, each before `steady_after`, are the end.
    """

    first: float = 0.5
    longest: float = 10.0
    steady_after: float = 30.0
    quick_deaths: int = 5

    def count(self, before: int, lived: float) -> int:
        """Return the deaths in a row, after `before` of them and one more at the age of `lived` seconds."""
        return 1 if lived >= self.steady_after else before + 1

    def delay(self, deaths: int) -> float | None:
        """Return the seconds to wait after so many deaths in a row; None: give up."""
        if deaths >= self.quick_deaths:
            return None
        return min(self.longest, self.first * 2.0 ** (deaths - 1))
