"""IANA time zones, with a suggestion for names that are nearly right."""

from __future__ import annotations

import difflib
import functools
import zoneinfo

from ..domain.wording import quoted

__all__ = ["is_timezone", "timezone_problem"]

_NAMES = zoneinfo.available_timezones() - {"localtime", "Factory", "posixrules"}
_LONGEST = max(map(len, _NAMES))
_MIN_SIMILARITY = 0.8


def is_timezone(name: str) -> bool:
    """Return whether a name is that of an IANA time zone, or empty."""
    return not name or name in _NAMES


def timezone_problem(name: str) -> str | None:
    """Return how a name is described that is not an IANA time zone, or None."""
    if is_timezone(name):
        return None
    similar = _similar(name)
    hint = f"did you mean {similar}?" if similar else "such as America/Chicago"
    return f"is not an IANA time zone, found {quoted(name)}; {hint}"


@functools.lru_cache(maxsize=1)
def _by_folded() -> dict[str, str]:
    return {name.casefold(): name for name in sorted(_NAMES)}


@functools.lru_cache(maxsize=1)
def _by_city() -> dict[str, str]:
    """Return the zones by the last part of their names; if two share it, the shorter name."""
    longest_first = sorted(_by_folded().items(), key=lambda item: item[0].count("/"), reverse=True)
    return {folded.rpartition("/")[2]: name for folded, name in longest_first if "/" in folded}


@functools.lru_cache(maxsize=256)
def _similar(name: str) -> str | None:
    """Return the zone that is most similar to a name. Only zones of the same region are compared."""
    folded = "_".join(name.split()).casefold()
    if len(folded) > _LONGEST:
        return None
    region, _, city = folded.rpartition("/")
    match = _by_folded().get(folded) or _by_city().get(city)
    if match:
        return match
    near = [one for one in _by_folded() if one.rpartition("/")[0] == region]
    return next(map(_by_folded().get, difflib.get_close_matches(folded, near, 1, _MIN_SIMILARITY)), None)
