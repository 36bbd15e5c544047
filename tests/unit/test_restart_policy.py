from __future__ import annotations

import pytest

from server.up.supervisor import RestartPolicy


@pytest.mark.parametrize(
    ("deaths", "delay"), [(1, 0.5), (2, 1), (3, 2), (4, 4), (5, 8), (6, 10), (19, 10), (20, None)]
)
def test_the_delay_doubles_up_to_a_bound(deaths: int, delay: float | None) -> None:
    assert RestartPolicy(quick_deaths=20).delay(deaths) == delay


@pytest.mark.parametrize(("before", "lived", "after"), [(0, 1, 1), (3, 29.9, 4), (3, 30, 1), (0, 1000, 1)])
def test_a_long_life_starts_the_count_anew(before: int, lived: float, after: int) -> None:
    assert RestartPolicy().count(before, lived) == after


def test_five_quick_deaths_are_the_end() -> None:
    assert RestartPolicy().delay(4) == 4
    assert RestartPolicy().delay(5) is None
