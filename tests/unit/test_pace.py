"""How long sends take, by a clock that the test turns."""

from __future__ import annotations

from contextlib import ExitStack

from server.dispatcher.pace import Pace
from tests.kit.clock import FakeClock
from tests.kit.router import make_traffic


def send(pace: Pace, clock: FakeClock, seconds: float) -> None:
    with pace.measured():
        clock.advance(seconds)


def test_ended_sends_count_for_30_seconds(clock: FakeClock) -> None:
    pace = Pace(clock.monotonic)
    assert pace.median == 0
    for seconds in (1, 2, 9):
        send(pace, clock, seconds)
    assert pace.median == 2
    clock.advance(25)
    assert pace.median == 9
    clock.advance(6)
    assert pace.median == 0


def test_a_provider_that_hangs_is_slow_although_nothing_ends(clock: FakeClock) -> None:
    pace = Pace(clock.monotonic)
    for _ in range(50):
        send(pace, clock, 0.1)
    with ExitStack() as hanging:
        for _ in range(4):
            hanging.enter_context(pace.measured())
        clock.advance(31)
        assert pace.median == 31


def test_a_failed_send_counts(clock: FakeClock) -> None:
    pace = Pace(clock.monotonic)
    try:
        with pace.measured():
            clock.advance(7)
            raise RuntimeError
    except RuntimeError:
        assert pace.median == 7


def test_the_router_measures_each_provider(clock: FakeClock) -> None:
    traffic = make_traffic(clock)
    with traffic.measured("first"), traffic.measured("unknown"):
        clock.advance(6)
    assert traffic.medians() == {"first": 6, "second": 0}
    assert {name: status.seconds for name, status in traffic.statuses().items()} == {"first": 6, "second": 0}
