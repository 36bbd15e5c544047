"""Times in requests."""

from __future__ import annotations

import datetime as dt

from google.protobuf.message import Message

from ..errors import InvalidRequest, Violation

__all__ = ["moment_in"]


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
