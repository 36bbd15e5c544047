"""The lines of the portal's plots."""

from __future__ import annotations

import pytest

from portal.plots import HEIGHT, WIDTH, Plot
from portal.render import environment


@pytest.mark.parametrize("values", [[], [0], [5], [0, 0, 0], [1, 2, 3], [7, 0, 10**12]])
def test_lines_stay_in_the_picture(values: list[int]) -> None:
    plot = Plot.of({"accepted": values, "failed": [0] * len(values)})
    assert plot.highest == max(values, default=0)
    for line in plot.lines:
        for point in line.points.split():
            x, y = map(float, point.split(","))
            assert 0 <= x <= WIDTH
            assert 0 <= y <= HEIGHT


def test_higher_values_are_higher_and_later_ones_right() -> None:
    [line] = Plot.of({"sent": [0, 5, 10]}).lines
    points = [tuple(map(float, point.split(","))) for point in line.points.split()]
    assert [x for x, _ in points] == sorted({x for x, _ in points})
    assert [y for _, y in points] == sorted({y for _, y in points}, reverse=True)
    assert line.total == 15


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "1 ms"),
        (0.0551, "55 ms"),
        (1.0, "1 s"),
        (99.94, "99.9 s"),
        (300.0, "5 min"),
        (7200.0, "2 h"),
        (1_000_000.0, "11.6 days"),
    ],
)
def test_durations_have_one_unit(seconds: float, text: str) -> None:
    assert environment().filters["duration"](seconds) == text
