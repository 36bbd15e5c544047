"""The log of rejected keys: bounded, whatever strangers send."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable

import pytest
from structlog.testing import capture_logs

from server.api.access_log import MAX_LINES, WINDOW_SECONDS, RejectedKeys
from server.domain.key import ApiKey, Scope

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
HERE = "192.0.2.1"


def key(**ended: dt.datetime) -> ApiKey:
    return ApiKey(uuid.uuid4(), 1, "shop", frozenset({Scope.TRIGGER}), NOW, **ended)  # type: ignore[arg-type]


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.mark.parametrize(
    ("made", "state"),
    [
        (lambda: None, "unknown"),
        (lambda: key(revoked_at=NOW), "revoked"),
        (lambda: key(expires_at=NOW), "expired"),
    ],
)
def test_rejection_names_key_and_caller(made: Callable[[], ApiKey | None], state: str) -> None:
    one = made()
    with capture_logs() as lines:
        RejectedKeys().log(one, HERE)
    (line,) = lines
    assert (line["state"], line["caller"]) == (state, HERE)
    assert line["key_id"] == (str(one.id) if one else None)


def test_repeated_rejections_are_counted(clock: Clock) -> None:
    rejected, one = RejectedKeys(clock), key(revoked_at=NOW)
    with capture_logs() as lines:
        for _ in range(5):
            rejected.log(one, HERE)
        clock.now = WINDOW_SECONDS
        rejected.log(one, HERE)
    assert [line["event"] for line in lines] == ["key rejected", "more keys rejected", "key rejected"]
    assert lines[1]["calls"] == 4


def test_many_addresses_do_not_fill_the_log(clock: Clock) -> None:
    rejected = RejectedKeys(clock)
    with capture_logs() as lines:
        for number in range(5 * MAX_LINES):
            rejected.log(None, f"2001:db8::{number:x}")
    assert len(lines) == MAX_LINES


def test_forged_address_is_short_and_printable() -> None:
    with capture_logs() as lines:
        RejectedKeys().log(None, "\x1b[2J\u202e" + "x" * 10_000)
    caller = lines[0]["caller"]
    assert caller.isprintable()
    assert len(caller) < 100


def test_caller_without_the_header_is_unknown() -> None:
    with capture_logs() as lines:
        RejectedKeys().log(None, None)
    assert lines[0]["caller"] == "unknown"
