"""When a send window is open, on the user's clock and right over changes of daylight saving time."""

from __future__ import annotations

import datetime as dt
import functools
import zoneinfo

from .campaign import SendWindow

__all__ = ["next_opening", "zone_of"]


def next_opening(window: SendWindow, now: dt.datetime, zone: dt.tzinfo) -> dt.datetime:
    """Return `now` if the window is open in `zone`, or the first instant after it at which it opens.

    A wall clock that skips the opening (spring) opens it that much later; one that shows it twice (autumn)
    opens it the first time.
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
        # Where the clock skips the opening, the one instant is too early, and the other may be too late.
        if instant > now and _is_open(opens, closes, instant.astimezone(zone).time())
    )


def _is_open(opens: dt.time, closes: dt.time, wall: dt.time) -> bool:
    if opens < closes:
        return opens <= wall < closes
    return wall >= opens or wall < closes  # over midnight


@functools.lru_cache(maxsize=1024)
def zone_of(name: str, fallback: str = "UTC") -> dt.tzinfo:
    """Return the IANA time zone of this name; else that of the fallback; else UTC."""
    for candidate in (name, fallback):
        try:
            return zoneinfo.ZoneInfo(candidate)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
            continue
    return dt.UTC
