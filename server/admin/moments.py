"""Times and durations in requests."""

from __future__ import annotations

import datetime as dt
from typing import Any

from google.protobuf.message import Message

from ..errors import InvalidRequest, Violation

__all__ = ["moment_in", "overlap_in"]

_OVERLAP = dt.timedelta(hours=24)


def moment_in(request: Message, field: str) -> dt.datetime:
    """Return the time in a field of a request.

    Raises:
        InvalidRequest: It is outside the years 1 to 9999.
    """
    try:
        moment: dt.datetime = getattr(request, field).ToDatetime(tzinfo=dt.UTC)
    except (ValueError, OverflowError):
        description = "must be between the years 1 and 9999"
        raise InvalidRequest([Violation(field, description, "OUT_OF_RANGE")]) from None
    return moment


def overlap_in(request: Any, longest: dt.timedelta) -> dt.timedelta:
    """Return how long an old secret works next to its successor; 24 hours if the request does not say.

    Args:
        request: A request that rotates a secret.
        longest: The maximum.

    Raises:
        InvalidRequest: It is negative or too long.
    """
    overlap: dt.timedelta = request.overlap.ToTimedelta() if request.HasField("overlap") else _OVERLAP
    if not dt.timedelta() <= overlap <= longest:
        description = f"must be from 0 s to {longest.days} days"
        raise InvalidRequest([Violation("overlap", description, "OUT_OF_RANGE")])
    return overlap
