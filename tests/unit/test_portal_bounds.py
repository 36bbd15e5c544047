"""What strangers cannot fill: the portal's log, and its memory of failures to sign in."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from portal.errors import ApiError, ServersUnreachable, TooManyAttempts
from portal.failure_log import FailureLog
from portal.oidc import KeptForms
from portal.throttle import Throttle


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_flood_of_failures_logs_few_lines() -> None:
    clock = Clock()
    failures = FailureLog(clock)
    with capture_logs() as lines:
        for number in range(1000):
            failures.log(ServersUnreachable(), f"/portal/{number}", "r")
        failures.log(ApiError("OVERLOADED", "", status=503), "/portal/", "r")
        failures.log(ZeroDivisionError(), "/portal/", "r")
        clock.now = 60.0
        failures.log(ServersUnreachable(), "/portal/", "r")
    unreachable = [one for one in lines if one.get("reason") == "SERVER_UNAVAILABLE"]
    assert [one["event"] for one in unreachable].count("page not shown") == 11
    assert [one["pages"] for one in unreachable if one["event"] == "more pages not shown"] == [990]
    assert [one["event"] for one in lines if one["log_level"] == "error"] == ["page failed"]
    assert len(lines) == 14


def test_failures_of_an_address_are_counted_for_a_minute() -> None:
    clock = Clock()
    throttle = Throttle("Wait.", clock)
    for number in range(10):
        throttle.check("2001:db8::1")
        throttle.failed(f"2001:db8::{number}")  # one network
    with pytest.raises(TooManyAttempts, match="Wait"):
        throttle.check("2001:db8::ffff")
    throttle.check("2001:db8:1::1")
    clock.now = 60.0
    throttle.check("2001:db8::1")


def test_the_throttle_remembers_few_addresses() -> None:
    throttle = Throttle("", Clock())
    for number in range(10_100):
        throttle.failed(f"10.1.{number // 256}.{number % 256}")
    assert len(throttle) == 10_000


def test_typed_texts_are_only_for_the_same_browser() -> None:
    forms = KeptForms()
    kept = forms.put("typed", "token")
    assert forms.take(kept, "another") == forms.take(kept, "") == ""
    assert forms.take(kept, "token") == "typed"
    assert forms.take(kept, "token") == ""
