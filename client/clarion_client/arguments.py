"""What arguments must be so that they can be sent at all; each refusal begins with the argument's name."""

from __future__ import annotations

import datetime as dt
import math

from google.protobuf.timestamp_pb2 import Timestamp

__all__ = ["checked_integer", "checked_moment", "checked_seconds", "checked_text"]

_INT64 = range(-(2**63), 2**63)


def checked_text(name: str, given: object) -> str:
    """Return the text.

    Raises:
        TypeError: it is none.
        ValueError: it holds half a character (a lone surrogate).
    """
    if not isinstance(given, str):
        raise TypeError(f"{name}: must be a str, not {_kind(given)}")
    try:
        given.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{name}: cannot be written as UTF-8: {error.reason}") from None
    return given


def checked_integer(name: str, given: object) -> int:
    """Return the integer.

    Raises:
        TypeError: it is none.
        ValueError: it is none of 64 bits.
    """
    if not isinstance(given, int):
        raise TypeError(f"{name}: must be an int, not {_kind(given)}")
    if given not in _INT64:
        raise ValueError(f"{name}: must be an integer of 64 bits, not one of {given.bit_length()}")
    return given


def checked_moment(name: str, given: object) -> Timestamp:
    """Return the moment as it travels.

    Raises:
        TypeError: it is no datetime.
        ValueError: it has no time zone, or is before the year 1 or after 9999.
    """
    if not isinstance(given, dt.datetime):
        raise TypeError(f"{name}: must be a datetime, not {_kind(given)}")
    if given.utcoffset() is None:
        raise ValueError(f"{name}: needs a time zone, as datetime.now(UTC) has one")
    moment = Timestamp()
    try:
        moment.FromDatetime(given)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{name}: {error}") from None
    return moment


def checked_seconds(name: str, given: object) -> float:
    """Return the time that a call may take.

    Raises:
        TypeError: it is no number.
        ValueError: no call could take it.
    """
    if not isinstance(given, int | float):
        raise TypeError(f"{name}: must be a number of seconds, not {_kind(given)}")
    if not (given > 0 and math.isfinite(given)):
        raise ValueError(f"{name}: must be a number of seconds above 0, not {given!r}")
    return given


def _kind(given: object) -> str:
    return type(given).__name__
