"""Times that people enter."""

from __future__ import annotations

import datetime as dt

from google.protobuf.timestamp_pb2 import Timestamp

from .errors import ApiError

__all__ = ["NOT_A_TIME", "parse_moment", "read_moment"]

NOT_A_TIME = "Enter a date, or a date and a time (UTC), such as 2026-01-31 or 2026-01-31T08:00."


def parse_moment(text: str) -> Timestamp:
    """Return the time that a text states in ISO 8601; in UTC if it names no zone.

    Raises:
        ValueError: It is not a time, or not one that the API can express.
    """
    try:
        moment = dt.datetime.fromisoformat(text)
        utc = moment.replace(tzinfo=dt.UTC) if moment.tzinfo is None else moment.astimezone(dt.UTC)
    except OverflowError as error:
        raise ValueError(text) from error
    found = Timestamp()
    found.FromDatetime(utc)
    return found


def read_moment(text: str) -> Timestamp:
    """Return the time that a page put into its form.

    Raises:
        ApiError: The form was changed.
    """
    found = Timestamp()
    try:
        found.FromJsonString(text)
    except ValueError as error:
        raise ApiError("INVALID_REQUEST", "This form is outdated; open it again.", status=422) from error
    return found
