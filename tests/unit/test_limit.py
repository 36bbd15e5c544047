"""Rate limits, by a clock that the test turns."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.api.rate_limit import rate_limited
from server.domain.limit import NO_OWN_LIMIT, Exceeded, Limit, OwnLimit, RateLimiter
from tests.kit.clock import FakeClock

FREE = Limit(0, 1)
MOMENT = 1e-5
"""Seconds; more than rounding errors, less than a caller notices."""


@pytest.fixture
def limiter(clock: FakeClock) -> RateLimiter:
    return RateLimiter(FREE, FREE, clock)


def call(
    limiter: RateLimiter, key: object, of_key: Limit, project: object, of_project: Limit
) -> tuple[Exceeded, ...]:
    """Make one call; return the limits that it exceeds."""
    return limiter.take_up_to(1, key, of_key, project, of_project)[1]


def wait(limiter: RateLimiter, limit: Limit, key: object = "a") -> float:
    """Make a call by a key with this limit in a project without; return the wait, or 0."""
    exceeded = call(limiter, key, limit, "project", FREE)
    return exceeded[0].wait if exceeded else 0


def passed(limiter: RateLimiter, limit: Limit, key: object = "a") -> int:
    """Call until one is refused; return how many were not."""
    return next(count for count in range(10_000) if wait(limiter, limit, key))


def test_a_rate_of_zero_means_no_limit(limiter: RateLimiter) -> None:
    assert {wait(limiter, FREE) for _ in range(1000)} == {0}
    assert len(limiter) == 0


def test_a_full_bucket_allows_its_burst(limiter: RateLimiter) -> None:
    assert [wait(limiter, Limit(2, 3)) for _ in range(4)] == pytest.approx([0, 0, 0, 0.5], abs=MOMENT)


@pytest.mark.parametrize("limit", [Limit(30, 100), Limit(0.001, 7), Limit(7, 1), Limit(1 / 3, 1000)])
def test_the_whole_burst_is_allowed(limiter: RateLimiter, clock: FakeClock, limit: Limit) -> None:
    assert passed(limiter, limit) == limit.burst
    clock.advance(10 * limit.burst / limit.rate)
    assert passed(limiter, limit) == limit.burst


def test_tokens_refill_over_time_up_to_the_burst(limiter: RateLimiter, clock: FakeClock) -> None:
    limit = Limit(2, 3)
    assert passed(limiter, limit) == 3
    clock.advance(0.25)
    assert wait(limiter, limit) == pytest.approx(0.25, abs=MOMENT)
    clock.advance(0.25)
    assert passed(limiter, limit) == 1
    clock.advance(3600)
    assert passed(limiter, limit) == 3


@pytest.mark.parametrize("limit", [Limit(3, 1), Limit(0.7, 5), Limit(1000, 50)])
def test_the_returned_wait_is_exact(limiter: RateLimiter, clock: FakeClock, limit: Limit) -> None:
    passed(limiter, limit)
    stated = wait(limiter, limit)
    clock.advance(stated - MOMENT)
    assert wait(limiter, limit) > 0
    clock.advance(MOMENT)
    assert wait(limiter, limit) == 0


def test_the_rate_is_kept_at_any_frequency_of_calls(limiter: RateLimiter, clock: FakeClock) -> None:
    limit = Limit(50, 10)
    count = 0
    for _ in range(4000):
        count += not wait(limiter, limit)
        clock.advance(0.001)
    assert count == pytest.approx(50 * 4 + 10, abs=1)


def test_each_key_has_its_own_bucket(limiter: RateLimiter) -> None:
    assert passed(limiter, Limit(1, 2), "a") == 2
    assert passed(limiter, Limit(1, 2), "b") == 2
    assert len(limiter) == 2  # and none for the project, which has no limit


def test_keys_of_a_project_share_its_bucket(limiter: RateLimiter) -> None:
    limit = Limit(1, 3)
    assert [len(call(limiter, key, FREE, 1, limit)) for key in "abcd"] == [0, 0, 0, 1]
    assert call(limiter, "a", FREE, 2, limit) == ()


def test_a_refused_call_takes_no_tokens(limiter: RateLimiter, clock: FakeClock) -> None:
    narrow, wide = Limit(1, 1), Limit(1, 2)
    assert call(limiter, "a", narrow, 1, wide) == ()
    assert [one.scope for one in call(limiter, "a", narrow, 1, wide)] == ["key"]
    assert call(limiter, "b", narrow, 1, wide) == ()
    assert [one.scope for one in call(limiter, "c", narrow, 1, wide)] == ["project"]
    clock.advance(1 + MOMENT)
    assert call(limiter, "c", narrow, 1, wide) == ()


def test_all_exceeded_limits_are_reported(limiter: RateLimiter) -> None:
    of_key, of_project = Limit(1, 1), Limit(0.1, 1)
    call(limiter, "a", of_key, 1, of_project)
    key, project = call(limiter, "a", of_key, 1, of_project)
    assert [(one.scope, one.limit) for one in (key, project)] == [("key", of_key), ("project", of_project)]
    assert [one.wait for one in (key, project)] == pytest.approx([1, 10])


def test_own_limits_override_the_default() -> None:
    limiter = RateLimiter(Limit(10, 20), Limit(30, 40))
    assert limiter.of_key(NO_OWN_LIMIT) == Limit(10, 20)
    assert limiter.of_key(OwnLimit(rate=1)) == Limit(1, 20)
    assert limiter.of_key(OwnLimit(burst=2)) == Limit(10, 2)
    assert limiter.of_key(OwnLimit(0, 5)).rate == 0
    assert limiter.of_project(OwnLimit(rate=1)) == Limit(1, 40)


def test_a_changed_limit_applies_to_the_next_call(limiter: RateLimiter, clock: FakeClock) -> None:
    slow, fast = Limit(0.001, 100), Limit(50, 10)
    assert passed(limiter, slow) == 100
    assert wait(limiter, fast) == pytest.approx(1 / 50, abs=MOMENT)
    clock.advance(1)
    assert passed(limiter, fast) == 10
    assert wait(limiter, FREE) == 0


def test_a_changed_share_applies_to_the_next_call(limiter: RateLimiter, clock: FakeClock) -> None:
    limit = Limit(4, 2)
    limiter.share_among(8)
    assert passed(limiter, limit) == 1
    limiter.share_among(1)
    assert wait(limiter, limit) == pytest.approx(1 / 4, abs=MOMENT)
    clock.advance(1 / 4)
    assert passed(limiter, limit) == 1


@pytest.mark.parametrize("processes", [2, 3, 8])
def test_processes_grant_equal_shares(clock: FakeClock, processes: int) -> None:
    limiters = [RateLimiter(FREE, FREE, clock) for _ in range(processes)]
    for limiter in limiters:
        limiter.share_among(processes)
    limit = Limit(48, 24)
    assert sum(passed(limiter, limit) for limiter in limiters) == 24
    clock.advance(0.25 + MOMENT)
    assert sum(passed(limiter, limit) for limiter in limiters) == pytest.approx(12, abs=processes / 2)


def test_a_share_of_a_burst_is_at_least_one_call(limiter: RateLimiter, clock: FakeClock) -> None:
    limiter.share_among(8)
    limit = Limit(4, 2)
    assert passed(limiter, limit) == 1
    assert wait(limiter, limit) == pytest.approx(2, abs=MOMENT)
    clock.advance(2)
    assert passed(limiter, limit) == 1


def test_a_changed_share_keeps_the_level(limiter: RateLimiter) -> None:
    limit = Limit(10, 100)
    for _ in range(50):
        wait(limiter, limit)
    limiter.share_among(2)
    assert passed(limiter, limit) == 25


def test_full_buckets_are_dropped(limiter: RateLimiter, clock: FakeClock) -> None:
    limit = Limit(1, 10)
    most = 0
    for number in range(10_000):
        wait(limiter, limit, number)
        clock.advance(0.01)
        most = max(most, len(limiter))
    assert most < 2000
    passed(limiter, limit, "busy")
    for number in range(5000):
        wait(limiter, limit, -number)
    assert wait(limiter, limit, "busy") > 0


def test_the_answer_names_the_limit_with_the_longest_wait() -> None:
    key, of_key, of_project = uuid.uuid4(), Limit(60, 100), Limit(0.5, 3)
    error = rate_limited(
        key,
        {"key": of_key, "project": of_project},
        [Exceeded("key", of_key, 0.01), Exceeded("project", of_project, 1.2)],
    )
    assert str(error) == (
        "Too many calls: the API key's project is limited to 0.5 calls a second with a burst of 3; wait 2 s."
    )
    assert error.metadata == {"key_id": str(key), "limit": "project"}
    assert error.retry_after == 1.2
    assert dict(error.headers) == {
        "ratelimit-policy": '"key";q=100;w=2, "project";q=3;w=6',
        "ratelimit": '"key";r=0;t=1, "project";r=0;t=2',
    }


def test_the_answer_omits_missing_limits() -> None:
    limit = Limit(100, 100)
    error = rate_limited(uuid.uuid4(), {"key": limit, "project": FREE}, [Exceeded("key", limit, 0.01)])
    assert dict(error.headers) == {"ratelimit-policy": '"key";q=100;w=1', "ratelimit": '"key";r=0;t=1'}


def take_up_to(
    limiter: RateLimiter, wanted: int, of_key: Limit, of_project: Limit = FREE
) -> tuple[int, list[str]]:
    """Consume tokens for a batch; return how many, and which limits refused the rest."""
    taken, exceeded = limiter.take_up_to(wanted, "a", of_key, "project", of_project)
    return taken, [one.scope for one in exceeded]


def test_a_batch_gets_the_tokens_that_are_left(limiter: RateLimiter, clock: FakeClock) -> None:
    limit = Limit(10, 5)
    assert take_up_to(limiter, 3, limit) == (3, [])
    assert take_up_to(limiter, 1000, limit) == (2, ["key"])
    assert take_up_to(limiter, 1, limit) == (0, ["key"])
    assert wait(limiter, limit) == pytest.approx(0.1, abs=MOMENT)
    clock.advance(0.3)
    assert take_up_to(limiter, 1000, limit) == (3, ["key"])


def test_a_batch_takes_equally_from_both_limits(limiter: RateLimiter) -> None:
    key, project = Limit(1, 100), Limit(1, 4)
    assert take_up_to(limiter, 10, key, project) == (4, ["project"])
    assert take_up_to(limiter, 96, key) == (96, [])
    assert take_up_to(limiter, 1, key) == (0, ["key"])


def test_a_batch_without_a_limit_is_allowed_whole(limiter: RateLimiter) -> None:
    assert take_up_to(limiter, 1000, FREE) == (1000, [])
    assert len(limiter) == 0


@given(st.lists(st.integers(0, 40), max_size=20), st.floats(0.1, 1e4), st.integers(1, 100))
def test_a_batch_equals_as_many_single_calls(batches: list[int], rate: float, burst: int) -> None:
    limit = Limit(rate, burst)
    together, alone = (RateLimiter(FREE, FREE, FakeClock()) for _ in range(2))
    for wanted in batches:
        calls = sum(not call(alone, "a", limit, "p", FREE) for _ in range(wanted))
        assert together.take_up_to(wanted, "a", limit, "p", FREE)[0] == calls
