"""Time zones: the hints for names that are nearly right."""

from __future__ import annotations

import zoneinfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.intake.timezones import timezone_problem
from tests.kit.cpu import little_cpu


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("america/chicago", "America/Chicago"),
        ("America/New York", "America/New_York"),
        ("America/Chicago ", "America/Chicago"),
        ("utc", "UTC"),
        ("Chicago", "America/Chicago"),
        ("Amerika/Chicago", "America/Chicago"),
        ("America/Chicgo", "America/Chicago"),
        ("us/central", "US/Central"),
    ],
)
def test_a_name_that_is_nearly_right_gets_a_hint(name: str, meant: str) -> None:
    problem = timezone_problem(name)
    assert problem is not None
    assert problem.endswith(f"; did you mean {meant}?")


@pytest.mark.parametrize("name", ["Mars/Base", "UTC+2", "+01:00", "CST", "x" * 64, "/", "a/"])
def test_any_other_name_gets_an_example(name: str) -> None:
    problem = timezone_problem(name)
    assert problem is not None
    assert problem.endswith("; such as America/Chicago")


def test_every_zone_is_known_and_hinted_at_in_few_words() -> None:
    for name in zoneinfo.available_timezones() - {"localtime", "Factory", "posixrules"}:
        assert timezone_problem(name) is None
        problem = timezone_problem(f"{name}x") or ""
        assert 0 < len(problem.encode()) <= 120, problem


@given(st.text(max_size=64))
def test_any_name_gets_a_short_answer(name: str) -> None:
    assert len((timezone_problem(name) or "").encode()) <= 120


def test_wrong_names_take_little_time() -> None:
    with little_cpu():
        for number in range(100):
            timezone_problem(f"America/Argentina/Buenos_A{number}")
            timezone_problem(f"America/Chicag{number}")
