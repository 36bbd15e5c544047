"""A hold of all sending, such as after the database was restored."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

__all__ = ["SendingHold"]


@dataclass(frozen=True, slots=True)
class SendingHold:
    """Since when nothing is sent.

    Attributes:
        held_at: Since when.
        held_by: The name of the operator, or `Clarion`.
        reason: Why; may be empty.
    """

    held_at: dt.datetime
    held_by: str
    reason: str

    def __str__(self) -> str:
        """Return a text for operators."""
        why = f": {self.reason}" if self.reason else ""
        return f"sending is held since {self.held_at:%Y-%m-%d %H:%M:%S} UTC by {self.held_by}{why}"
