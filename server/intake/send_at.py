"""When a trigger is to be sent: a moment of RFC 3339, not passed, and not too far ahead."""

from __future__ import annotations

import datetime as dt
import re

from google.protobuf.timestamp_pb2 import Timestamp

from ..domain.wording import shown
from ..errors import Violation

__all__ = ["AHEAD", "TOLERANCE", "moment_of", "parse_send_at", "send_at_violation"]

AHEAD = dt.timedelta(days=90)
"""How far ahead a trigger can be scheduled."""
TOLERANCE = dt.timedelta(minutes=1)
"""A moment that has passed by less is taken, and sent at once: clocks differ, and calls take time."""
_FIELD = "send_at"
# https://www.rfc-editor.org/rfc/rfc3339#section-5.6; the offset must be there.
_RFC3339 = re.compile(
    r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII
)  # fmt: skip


def parse_send_at(text: str) -> dt.datetime | Violation:
    """Return the moment that a text names, in UTC, or what is wrong with it."""
    try:
        if _RFC3339.fullmatch(text):
            return dt.datetime.fromisoformat(text.upper()).astimezone(dt.UTC)
    except (ValueError, OverflowError):  # the 31st of February; a year before 1 in UTC
        pass
    description = f"must be a date and time of RFC 3339 with an offset, found {shown(text)}"
    return Violation(_FIELD, f"{description}; such as 2026-12-24T18:00:00+01:00", "INVALID_FORMAT")


def moment_of(stamp: Timestamp, field: str = _FIELD) -> dt.datetime | Violation:
    """Return the moment of a timestamp in UTC, or what is wrong with it."""
    try:
        return stamp.ToDatetime(dt.UTC)
    except (ValueError, OverflowError):
        return Violation(field, "is no moment between the years 1 and 9999", "OUT_OF_RANGE")


def send_at_violation(moment: dt.datetime, now: dt.datetime) -> Violation | None:
    """Return what is wrong with a moment that a caller asks for `now`, if anything."""
    if moment < now - TOLERANCE:
        return Violation(_FIELD, "has passed; leave it out to send at once", "OUT_OF_RANGE")
    if moment > now + AHEAD:
        return Violation(_FIELD, f"is more than {AHEAD.days} days ahead, the most", "OUT_OF_RANGE")
    return None
