"""Reads points in time from the data that templates use."""

from __future__ import annotations

import datetime as dt
import re

__all__ = ["is_day", "moment_of"]

_MONTHS = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
_WORDED = re.compile(
    r"(?P<month>[a-z]{3,9})\.? (?P<day>[0-9]{1,2}),? (?P<year>[0-9]{4})"
    r"|(?P<day_first>[0-9]{1,2}) (?P<month_second>[a-z]{3,9})\.? (?P<year_last>[0-9]{4})",
    re.IGNORECASE,
)


def moment_of(value: object, zone: dt.tzinfo) -> dt.datetime | None:
    """Return a point in time in `zone`, or None if `value` is not one.

    Accepts ISO 8601 text, Unix seconds, `now`, `today`, and dates such as `March 14, 2016` and `14 Mar 2016`.
    A time without a zone is UTC. A date without a time is not converted between zones.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    if value in ("now", "today"):
        return dt.datetime.now(zone)
    try:
        if isinstance(value, int | float):
            return dt.datetime.fromtimestamp(value, zone)
        text = value.strip()
        if text.isdecimal() and text.isascii():
            return dt.datetime.fromtimestamp(int(text), zone)
        return _worded(text, zone) or _from_iso(text, zone)
    except (ValueError, OverflowError, OSError):
        return None


def _worded(text: str, zone: dt.tzinfo) -> dt.datetime | None:
    """Return a date whose month is an English word: unlike `03/04/2016`, it is unambiguous."""
    found = _WORDED.fullmatch(text)
    if found is None:
        return None
    name = (found["month"] or found["month_second"]).lower()
    for number, month in enumerate(_MONTHS, 1):
        if name in (month, month[:3]):
            day, year = found["day"] or found["day_first"], found["year"] or found["year_last"]
            return dt.datetime(int(year), number, int(day), tzinfo=zone)
    return None


def _from_iso(text: str, zone: dt.tzinfo) -> dt.datetime:
    moment = dt.datetime.fromisoformat(text)
    if moment.tzinfo is not None:
        return moment.astimezone(zone)
    if is_day(text):
        return moment.replace(tzinfo=zone)
    return moment.replace(tzinfo=dt.UTC).astimezone(zone)


def is_day(value: object) -> bool:
    """Return whether a point in time is written as a date without a time."""
    if not isinstance(value, str):
        return False
    text = value.strip()
    return _WORDED.fullmatch(text) is not None or ("-" in text and not any(mark in text for mark in "T t:"))
