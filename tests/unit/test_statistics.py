"""Quantiles of the time to delivery, and the steps of a period."""

from __future__ import annotations

import datetime as dt

import pytest

from server.domain.statistics import Counts, Kind, Window, bucket_end, quantile


@pytest.mark.parametrize("share", [0.5, 0.95])
def test_quantile_is_in_the_bucket_of_its_message(share: float) -> None:
    assert quantile({}, share) is None
    assert quantile({7: 0}, share) is None
    found = quantile({4: 90, 9: 4, 20: 6}, share)
    bucket = 4 if share == 0.5 else 20
    assert found is not None
    assert bucket_end(bucket - 1) < found <= bucket_end(bucket)


def test_quantile_divides_a_bucket() -> None:
    assert quantile({0: 4}, 0.5) == bucket_end(0) / 2
    assert quantile({0: 4}, 1.0) == bucket_end(0)


def test_time_doubles_after_two_buckets() -> None:
    assert bucket_end(0) == 0.001
    assert bucket_end(20) == pytest.approx(1.024)


def test_only_deliveries_have_a_time() -> None:
    counts = Counts()
    for kind in Kind:
        counts.add(kind, 3, 2)
        counts.add(kind, 4, 1)
    assert set(counts.of.values()) == {3}
    assert counts.buckets == {3: 2, 4: 1}


@pytest.mark.parametrize("step", [60, 3600, 21_600])
def test_steps_cover_the_period_until_now(step: int) -> None:
    now = dt.datetime(2026, 11, 28, 13, 59, 59, 999_999, dt.UTC)
    window = Window(now, 86_400, step)
    assert len(window.steps) == 86_400 // step
    assert window.steps[0] == window.start
    assert window.steps[-1] <= now < window.end
    assert window.steps[-1] + dt.timedelta(seconds=step) == window.end
    assert window.end.timestamp() % step == 0
