"""Plots as SVG. The table with the same numbers is next to each; see `plot` in macros.html."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = ["HEIGHT", "WIDTH", "Line", "Plot"]

WIDTH, HEIGHT = 640, 160
"""Units of the picture, which is scaled to the page."""
_MARGIN = 4  # so that lines at the edges are not cut off


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a plot.

    Attributes:
        name: What it shows.
        points: The attribute `points` of its polyline.
        total: The sum of its values.
    """

    name: str
    points: str
    total: int


@dataclass(frozen=True, slots=True)
class Plot:
    """Lines over the same steps of time.

    Attributes:
        lines: The lines.
        highest: The value at the upper edge; the lower edge is 0.
    """

    lines: Sequence[Line]
    highest: int

    @classmethod
    def of(cls, values: Mapping[str, Sequence[int]]) -> Plot:
        """Return the plot of values by the name of their line."""
        highest = max((value for one in values.values() for value in one), default=0)
        lines = [Line(name, _points(one, highest or 1), sum(one)) for name, one in values.items()]
        return cls(lines, highest)


def _points(values: Sequence[int], highest: int) -> str:
    step = (WIDTH - 2 * _MARGIN) / max(1, len(values) - 1)
    tall = HEIGHT - 2 * _MARGIN
    return " ".join(
        f"{_MARGIN + n * step:.1f},{_MARGIN + tall * (1 - value / highest):.1f}"
        for n, value in enumerate(values)
    )
