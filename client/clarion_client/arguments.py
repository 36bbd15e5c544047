"""Checks that arguments can be sent. Each error message starts with the argument's name."""

from __future__ import annotations

import datetime as dt
import math

from google.protobuf.timestamp_pb2 import Timestamp

__all__ = ["checked_integer", "checked_moment", "checked_seconds", "checked_text"]

_INT64 = range(-(2**63), 2**63)


def checked_text(name: str, given: object) -> str:
    """Return the given string.

    Raises:
        TypeError: It is not a string.
        ValueError: It has a lone surrogate, which UTF-8 cannot encode.
    """
    if not isinstance(given, str):
        raise TypeError(f"{name}: must be a str, not {_kind(given)}")
    try:
        given.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{name}: cannot be encoded as UTF-8: {error.reason}") from None
    return given


def checked_integer(name: str, given: object) -> int:
    """Return the given integer.

    Raises:
        TypeError: It is not an integer.
        ValueError: It does not fit into 64 bits.
    """
    if not isinstance(given, int):
        raise TypeError(f"{name}: must be an int, not {_kind(given)}")
    if given not in _INT64:
        raise ValueError(f"{name}: must fit into 64 bits, but has {given.bit_length()}")
    return given


def checked_moment(name: str, given: object) -> Timestamp:
    """Return the given time as a timestamp.

    Raises:
        TypeError: It is not a datetime.
        ValueError: It has no time zone, or is not between the years 1 and 9999.
    """
    if not isinstance(given, dt.datetime):
        raise TypeError(f"{name}: must be a datetime, not {_kind(given)}")
    if given.utcoffset() is None:
        raise ValueError(f"{name}: must have a time zone, as in datetime.now(UTC)")
    moment = Timestamp()
    try:
        moment.FromDatetime(given)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{name}: {error}") from None
    return moment


def checked_seconds(name: str, given: object) -> float:
    """Return the given number of seconds.

    Raises:
        TypeError: It is not a number.
        ValueError: It is not positive and finite.
    """
    if not isinstance(given, int | float):
        raise TypeError(f"{name}: must be a number of seconds, not {_kind(given)}")
    if not (given > 0 and math.isfinite(given)):
        raise ValueError(f"{name}: must be a positive number of seconds, not {given!r}")
    return given


def _kind(given: object) -> str:
    return type(given).__name__
