"""A retention that was shortened in the settings, and is held back for a day."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

__all__ = ["ShorterRetention"]

_REMOVED = {
    "content": "the content of triggers",
    "record": "the records of triggers",
    "audit": "the audit log",
}


@dataclass(frozen=True, slots=True)
class ShorterRetention:
    """A shorter time that does not apply yet.

    Attributes:
        data: The setting of `[retention]`: `content`, `record` or `audit`.
        days: For how many days data is kept until then.
        next_days: For how many days it is kept from then on.
        next_at: When that begins.
    """

    data: str
    days: int
    next_days: int
    next_at: dt.datetime

    def __str__(self) -> str:
        """Return a text for operators."""
        return (
            f"[retention] {self.data} was shortened from {self.days} to {self.next_days} days, so"
            f" {_REMOVED[self.data]} will be removed after {self.next_days} days, from"
            f" {self.next_at:%Y-%m-%d %H:%M} UTC on"
        )

    @property
    def action(self) -> str:
        """How to undo the change, in the imperative."""
        return (
            f"if that is a mistake, set `[retention] {self.data}` to {self.days} again and restart the"
            " dispatchers before then"
        )
