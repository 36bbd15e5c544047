"""Where in a lane a claim begins to look, by a clock that the test turns."""

from __future__ import annotations

import datetime as dt

import pytest

from server.store.queue.scan_floor import (
    FRONT,
    LOOK_AT_ALL_EVERY,
    LOOK_BACK,
    LOOK_BACK_EVERY,
    MARGIN,
    ScanFloors,
)
from tests.kit.clock import FakeClock

NOW = dt.datetime(2026, 7, 1, 12, 0, tzinfo=dt.UTC)
SECOND = dt.timedelta(seconds=1)


@pytest.fixture
def floors(clock: FakeClock) -> ScanFloors:
    """Floors that have looked at all of the lane `a` and found it claimed up to NOW."""
    made = ScanFloors(clock)
    assert made.of("a") == FRONT
    made.record_claimed("a", NOW, NOW)
    return made


def test_the_first_claim_of_a_lane_begins_at_its_front(floors: ScanFloors) -> None:
    assert floors.of("b") == FRONT


def test_the_next_one_begins_just_before_what_was_reached(floors: ScanFloors) -> None:
    assert floors.of("a") == NOW - MARGIN
    assert floors.of("b") == FRONT


def test_now_and_then_one_claim_looks_back(floors: ScanFloors, clock: FakeClock) -> None:
    clock.advance(LOOK_BACK_EVERY)
    assert [floors.of("a") for _ in range(3)] == [NOW - LOOK_BACK, NOW - MARGIN, NOW - MARGIN]


def test_and_one_looks_at_all(floors: ScanFloors, clock: FakeClock) -> None:
    clock.advance(LOOK_AT_ALL_EVERY)
    assert [floors.of("a") for _ in range(2)] == [FRONT, NOW - MARGIN]


def test_in_ten_minutes_a_lane_is_looked_at_as_often_as_said(floors: ScanFloors, clock: FakeClock) -> None:
    found = []
    for _ in range(60_000):
        clock.advance(0.01)
        found.append(floors.of("a"))
    assert found.count(FRONT) == pytest.approx(600 / LOOK_AT_ALL_EVERY, abs=1)
    assert found.count(NOW - LOOK_BACK) == pytest.approx(600 / LOOK_BACK_EVERY, rel=0.05)


@pytest.mark.parametrize(
    ("reached", "at", "expected"),
    [
        (NOW + SECOND, NOW + 2 * SECOND, NOW + SECOND),
        (None, NOW + SECOND, NOW),  # nothing was asked for
        (NOW - 5 * SECOND, NOW - 5 * SECOND, NOW - 5 * SECOND),  # the database's clock was set back
        (NOW + 9 * SECOND, NOW + SECOND, NOW + SECOND),
    ],
)
def test_floor_rises_with_claims_up_to_the_database_time(
    floors: ScanFloors, reached: dt.datetime | None, at: dt.datetime, expected: dt.datetime
) -> None:
    floors.record_claimed("a", reached, at)
    assert floors.of("a") == expected - MARGIN


def test_look_back_continues_until_it_has_caught_up(floors: ScanFloors, clock: FakeClock) -> None:
    floors.record_claimed("a", NOW - 60 * SECOND, NOW + SECOND)
    assert floors.of("a") == NOW - 60 * SECOND
    clock.advance(LOOK_BACK_EVERY)
    assert floors.of("a") == NOW - 60 * SECOND
    floors.record_claimed("a", NOW + SECOND, NOW + SECOND)
    assert floors.of("a") == NOW + SECOND - MARGIN


def test_after_an_outage_all_reset(floors: ScanFloors) -> None:
    floors.reset()
    assert floors.of("a") == FRONT


def test_lane_without_claims_is_read_from_the_front(clock: FakeClock) -> None:
    floors = ScanFloors(clock)
    for _ in range(5):
        assert floors.of("a") <= FRONT
        clock.advance(1)
