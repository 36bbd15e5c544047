"""When a trigger is to be sent: a time of RFC 3339, not in the past, and not too far ahead."""

from __future__ import annotations

import datetime as dt
import re

from google.protobuf.timestamp_pb2 import Timestamp

from ..domain.trigger import Trigger
from ..domain.wording import quoted
from ..errors import Violation

__all__ = ["AHEAD", "TOLERANCE", "late_violation", "moment_of", "parse_send_at", "send_at_violation"]

AHEAD = dt.timedelta(days=90)
"""How far ahead a trigger can be scheduled."""
TOLERANCE = dt.timedelta(minutes=1)
"""A time that passed less than this ago is accepted, and sent at once: clocks differ, and calls take time."""
_FIELD = "send_at"
# https://www.rfc-editor.org/rfc/rfc3339#section-5.6; the offset is required.
_RFC3339 = re.compile(
    r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII
)  # fmt: skip


def parse_send_at(text: str) -> dt.datetime | Violation:
    """Return the time that a text states, in UTC, or what is wrong with it."""
    try:
        if _RFC3339.fullmatch(text):
            return dt.datetime.fromisoformat(text.upper()).astimezone(dt.UTC)
    except (ValueError, OverflowError):  # the 31st of February; a year before 1 in UTC
        pass
    description = f"must be a date and time of RFC 3339 with an offset, found {quoted(text)}"
    return Violation(_FIELD, f"{description}; such as 2026-12-24T18:00:00+01:00", "INVALID_FORMAT")


def moment_of(stamp: Timestamp, field: str = _FIELD) -> dt.datetime | Violation:
    """Return the time of a timestamp in UTC, or what is wrong with it."""
    try:
        return stamp.ToDatetime(dt.UTC)
    except (ValueError, OverflowError):
        return Violation(field, "must be a timestamp between years 1 and 9999", "OUT_OF_RANGE")


def send_at_violation(send_at: dt.datetime, now: dt.datetime) -> Violation | None:
    """Return what is wrong with the time at which a caller wants a trigger sent, if anything."""
    if send_at < now - TOLERANCE:
        return Violation(_FIELD, "has passed; leave it out to send at once", "OUT_OF_RANGE")
    if send_at > now + AHEAD:
        return Violation(_FIELD, f"must be at most {AHEAD.days} days ahead", "OUT_OF_RANGE")
    return None


def late_violation(trigger: Trigger, now: dt.datetime) -> Violation | None:
    """Return the violation of a trigger whose time to send has passed, unless it repeats an earlier call.

    A caller that repeats a call, because it got no answer, may do so after `send_at`. So a trigger with an
    idempotency key is valid with a time that has passed, but must not be committed as a new one.
    """
    return send_at_violation(trigger.send_at, now) if trigger.send_at else None
