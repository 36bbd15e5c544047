"""Options that are durations, such as 30m."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable

import click

__all__ = ["duration"]

_DURATION = re.compile(r"([0-9]{1,7})([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def duration(longest: dt.timedelta) -> Callable[[click.Context, click.Parameter, str], dt.timedelta]:
    """Return the callback of an option that is a duration of at most `longest`."""

    def parse(_context: click.Context, _option: click.Parameter, text: str) -> dt.timedelta:
        found = _DURATION.fullmatch(text)
        if not found:
            raise click.BadParameter(f"{text!r} is not a duration; use a form such as 90s, 30m, 24h or 7d")
        parsed = dt.timedelta(seconds=int(found[1]) * _SECONDS[found[2]])
        if parsed > longest:
            raise click.BadParameter(f"{text!r} is too long; the maximum is {longest.days}d")
        return parsed

    return parse
