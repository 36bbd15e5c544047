"""When a send window is open in the user's time zone, also across daylight saving changes."""

from __future__ import annotations

import datetime as dt
import functools
import zoneinfo

from .campaign import SendWindow

__all__ = ["next_opening", "zone_of"]


def next_opening(window: SendWindow, now: dt.datetime, zone: dt.tzinfo) -> dt.datetime:
    """Return `now` if the window is open in `zone`, otherwise the next instant at which it opens.

    If the local clock skips the opening time (spring), the window opens that much later. If the clock shows
    it twice (autumn), the window opens the first time.
    """
    opens, closes = dt.time.fromisoformat(window.opens), dt.time.fromisoformat(window.closes)
    local = now.astimezone(zone)
    if _is_open(opens, closes, local.time()):
        return now
    days = (local.date() + dt.timedelta(days=number) for number in range(3))
    instants = (
        dt.datetime.combine(day, opens, zone).replace(fold=fold).astimezone(dt.UTC)
        for day in days
        for fold in (0, 1)
    )
    return min(
        instant
        for instant in instants
        # If the clock skips the opening, one of its two instants is too early and the other may be too late.
        if instant > now and _is_open(opens, closes, instant.astimezone(zone).time())
    )


def _is_open(opens: dt.time, closes: dt.time, wall: dt.time) -> bool:
    if opens < closes:
        return opens <= wall < closes
    return wall >= opens or wall < closes  # across midnight


@functools.lru_cache(maxsize=1024)
def zone_of(name: str, fallback: str = "UTC") -> dt.tzinfo:
    """Return the IANA time zone of this name, or of the fallback if it is unknown, or UTC."""
    for candidate in (name, fallback):
        try:
            return zoneinfo.ZoneInfo(candidate)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
            continue
    return dt.UTC
