"""Token buckets, by a clock that the test turns."""

from __future__ import annotations

import pytest

from server.domain.limit import TokenBuckets


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_rate_of_zero_means_no_limit() -> None:
    buckets = TokenBuckets(0, 1)
    assert [buckets.take("a") for _ in range(1000)] == [0] * 1000


def test_a_full_bucket_gives_its_burst_and_then_says_how_long_to_wait() -> None:
    buckets = TokenBuckets(2, 3, Clock())
    assert [buckets.take("a") for _ in range(4)] == [0, 0, 0, 0.5]


def test_tokens_come_back_with_time_but_never_more_than_the_burst() -> None:
    clock = Clock()
    buckets = TokenBuckets(2, 3, clock)
    for _ in range(3):
        buckets.take("a")
    clock.now += 0.25
    assert buckets.take("a") == pytest.approx(0.25)
    clock.now += 0.25
    assert buckets.take("a") == 0
    clock.now += 3600
    assert [buckets.take("a") for _ in range(4)] == [0, 0, 0, 0.5]


def test_waiting_as_long_as_told_is_enough() -> None:
    clock = Clock()
    buckets = TokenBuckets(3, 1, clock)
    buckets.take("a")
    clock.now += buckets.take("a") + 1e-9
    assert buckets.take("a") == 0


def test_refused_calls_cost_nothing() -> None:
    clock = Clock()
    buckets = TokenBuckets(1, 1, clock)
    buckets.take("a")
    assert {buckets.take("a") for _ in range(100)} == {1.0}


def test_each_name_has_a_bucket_of_its_own() -> None:
    buckets = TokenBuckets(1, 1, Clock())
    assert buckets.take("a") == 0
    assert buckets.take("b") == 0
    assert buckets.take("a") > 0
