"""Defines the options for rate limits and formats them, for `clarion keys` and `clarion projects`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from ..domain.limit import OwnLimit

__all__ = ["in_words", "limit_options", "new_limit"]

F = TypeVar("F", bound=Callable[..., Any])

_MOST = 1_000_000
_SLOWEST = 0.001


def limit_options(command: F) -> F:
    """Add the options `--rate` and `--burst` to a command."""
    rate = click.option(
        "--rate",
        type=click.FloatRange(0, _MOST),
        callback=_check_rate,
        help="Calls per second, for all servers together; 0 means no limit.",
    )
    burst = click.option(
        "--burst", type=click.IntRange(1, _MOST), help="Calls allowed at once after a quiet period."
    )
    return rate(burst(command))


def new_limit(rate: float | None, burst: int | None, *, default: bool) -> OwnLimit:
    """Return the limit that the options set.

    Raises:
        click.UsageError: no option is given, or --default together with another one.
    """
    given = rate is not None or burst is not None
    if given is default:
        raise click.UsageError("give --rate, --burst or both; or --default alone")
    return OwnLimit(rate, burst)


def in_words(limit: OwnLimit) -> str:
    """Format a limit for a cell of a table."""
    rate = "default"
    if limit.rate is not None:
        rate = f"{limit.rate:g}/s" if limit.rate else "none"
    return rate if limit.burst is None else f"{rate}, burst {limit.burst}"


def _check_rate(_context: click.Context, _option: click.Parameter, rate: float | None) -> float | None:
    if rate is not None and rate != 0 and not rate >= _SLOWEST:  # also rejects "nan"
        raise click.BadParameter(f"must be 0 or at least {_SLOWEST}")
    return rate
