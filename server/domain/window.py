"""Computes when a send window is open in the user's time zone, including daylight saving changes."""

from __future__ import annotations

import datetime as dt
import functools
import zoneinfo

from .campaign import SendWindow

__all__ = ["next_opening", "zone_of"]


def next_opening(window: SendWindow, now: dt.datetime, zone: dt.tzinfo) -> dt.datetime:
    """Return `now` if the window is open in `zone`, otherwise the next instant at which it opens.

    If the local clock skips the opening time (spring), the window opens at the end of the gap, unless the
    clock also skips the closing time. If the opening time occurs twice (autumn), the first one counts.
    """
    opens, closes = dt.time.fromisoformat(window.opens), dt.time.fromisoformat(window.closes)
    if _is_open(opens, closes, now.astimezone(zone).time()):
        return now
    today = now.astimezone(zone).date()
    days = (today + dt.timedelta(days=number) for number in range(3))
    instants = (instant for day in days for instant in _instants(dt.datetime.combine(day, opens), zone))
    return min(
        instant
        for instant in instants
        if instant > now and _is_open(opens, closes, instant.astimezone(zone).time())
    )


def _instants(wall: dt.datetime, zone: dt.tzinfo) -> tuple[dt.datetime, ...]:
    """Return the instants at which the local clock is `wall`, or the end of the gap if it skips `wall`."""
    first, second = (wall.replace(tzinfo=zone, fold=fold).astimezone(dt.UTC) for fold in (0, 1))
    if first <= second:
        return first, second
    return (_change(second, first, zone),)  # in a gap, the later fold is the earlier instant


def _change(before: dt.datetime, after: dt.datetime, zone: dt.tzinfo) -> dt.datetime:
    """Return the instant, to the second, at which a zone's UTC offset changes between two instants."""
    offset = before.astimezone(zone).utcoffset()
    while after - before > dt.timedelta(seconds=1):
        middle = (before + (after - before) / 2).replace(microsecond=0)
        if middle.astimezone(zone).utcoffset() == offset:
            before = middle
        else:
            after = middle
    return after


def _is_open(opens: dt.time, closes: dt.time, wall: dt.time) -> bool:
    if opens < closes:
        return opens <= wall < closes
    return wall >= opens or wall < closes  # across midnight


@functools.lru_cache(maxsize=1024)
def zone_of(name: str, fallback: str = "UTC") -> dt.tzinfo:
    """Return the IANA time zone `name`; if that is unknown, `fallback`; if both are, UTC."""
    for candidate in (name, fallback):
        try:
            return zoneinfo.ZoneInfo(candidate)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
            continue
    return dt.UTC
