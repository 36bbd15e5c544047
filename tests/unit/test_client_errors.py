"""Which exception an answer becomes, and when it is worth another try."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from google.rpc import code_pb2, error_details_pb2, status_pb2

from clarion.v1 import error_reason_pb2 as reasons
from clarion.v1 import options_pb2
from clarion_client import (
    CampaignPaused,
    ClarionError,
    Conflict,
    CredentialsRefused,
    Forbidden,
    InternalFault,
    InvalidRequest,
    NotFound,
    RateLimited,
    RequestIdReused,
    TimedOut,
    TooLarge,
    TooLateToCancel,
    Unavailable,
    Violation,
)
from clarion_client.errors import error_of, final, timed_out
from clarion_client.retry import Tries, limit, pause

ANSWER: Any = options_pb2.answer
KINDS: dict[str, type[ClarionError]] = {
    "INVALID_REQUEST": InvalidRequest,
    "CAMPAIGN_PAUSED": CampaignPaused,
    "CREDENTIALS_MISSING": CredentialsRefused,
    "CREDENTIALS_INVALID": CredentialsRefused,
    "SCOPE_MISSING": Forbidden,
    "CAMPAIGN_FORBIDDEN": Forbidden,
    "CAMPAIGN_NOT_FOUND": NotFound,
    "DELIVERY_NOT_FOUND": NotFound,
    "BODY_TOO_LARGE": TooLarge,
    "RATE_LIMITED": RateLimited,
    "STORE_UNAVAILABLE": Unavailable,
    "OVERLOADED": Unavailable,
    "SERVER_UNAVAILABLE": Unavailable,
    "TIMED_OUT": TimedOut,
    "INTERNAL_FAULT": InternalFault,
    "IDEMPOTENCY_KEY_REUSED": RequestIdReused,
    "TOO_LATE_TO_CANCEL": TooLateToCancel,
}
PASSING = {"RATE_LIMITED", "STORE_UNAVAILABLE", "OVERLOADED", "SERVER_UNAVAILABLE", "TIMED_OUT"}


def status(reason: str, *details: Any) -> status_pb2.Status:
    """Return a status as the contract has it for this reason."""
    value = reasons.ErrorReason.DESCRIPTOR.values_by_name[f"ERROR_REASON_{reason}"]
    made = status_pb2.Status(code=value.GetOptions().Extensions[ANSWER].code, message="What happened.")
    for detail in (
        error_details_pb2.ErrorInfo(reason=reason, domain="clarion", metadata={"a": "b"}),
        *details,
    ):
        made.details.add().Pack(detail)
    return made


@pytest.mark.parametrize("reason", KINDS)
def test_each_reason_has_its_exception_and_only_what_passes_is_tried_again(reason: str) -> None:
    error = error_of(status(reason))
    assert type(error) is KINDS[reason]
    assert (error.reason, error.metadata) == (reason, {"a": "b"})
    assert error.passing == (reason in PASSING)
    assert (pause(error, 0, 60.0) is not None) == error.passing


def test_every_conflict_is_one() -> None:
    assert all(issubclass(kind, Conflict) for kind in (CampaignPaused, RequestIdReused, TooLateToCancel))


def test_an_error_has_all_that_the_answer_said() -> None:
    violation = {"field": "user.email", "description": "is required", "reason": "REQUIRED"}
    bad = error_details_pb2.BadRequest(field_violations=[violation])
    wait = error_details_pb2.RetryInfo()
    wait.retry_delay.FromMilliseconds(1500)
    error = error_of(status("RATE_LIMITED", bad, wait), "order-7")
    assert str(error) == "What happened."
    assert (error.code, error.retry_after, error.request_id) == ("RESOURCE_EXHAUSTED", 1.5, "order-7")
    assert error.violations == (Violation("user.email", "is required", "REQUIRED"),)


@pytest.mark.parametrize("error", [error_of(status("TIMED_OUT"), "order-7"), timed_out("order-7")])
def test_an_open_outcome_says_how_to_ask_again(error: ClarionError) -> None:
    assert "request_id='order-7' is safe" in str(error)
    assert error.request_id == "order-7"


def test_a_code_of_the_future_is_still_a_clarion_error() -> None:
    error = error_of(status_pb2.Status(code=code_pb2.DATA_LOSS, message="x"))
    assert (type(error), error.code, error.reason) == (ClarionError, "DATA_LOSS", "")


def test_an_error_travels_between_processes() -> None:
    error = pickle.loads(pickle.dumps(error_of(status("CAMPAIGN_PAUSED"), "order-7")))  # noqa: S301
    assert (type(error), str(error), error.reason) == (CampaignPaused, "What happened.", "CAMPAIGN_PAUSED")


@pytest.mark.parametrize(
    ("failed", "asked", "left", "longest"),
    [
        (0, None, 5.0, 0.1),
        (1, None, 5.0, 0.2),
        (3, None, 5.0, 0.8),
        (9, None, 5.0, 2.0),
        (10_000, None, 5.0, 2.0),
        (0, 1.5, 5.0, 1.6),
        (0, 1.5, 1.5, None),  # it would outlast the deadline
        (0, None, 0.05, None),
    ],
)
def test_pauses_grow_honour_the_answer_and_end_before_the_deadline(
    failed: int, asked: float | None, left: float, longest: float | None
) -> None:
    seconds = pause(Unavailable(retry_after=asked), failed, left, lambda: 1.0)
    assert seconds == (None if longest is None else pytest.approx(longest))
    if longest is not None:
        assert pause(Unavailable(retry_after=asked), failed, left, lambda: 0.0) == (asked or 0.0)


def test_an_error_of_the_deadline_alone_tells_what_the_try_before_met() -> None:
    refused, late = Unavailable("Nobody listens."), timed_out("order-7")
    assert str(final(late, None)) == str(late)
    told = final(late, refused)
    assert isinstance(told, TimedOut)
    assert str(told).startswith("No answer in time. The try before it: Nobody listens. Calling again")
    assert final(refused, late) is refused
    answered = error_of(status("TIMED_OUT"), "order-7")
    assert final(answered, refused) is answered
    assert final(late, late) is late


@pytest.mark.parametrize(("left", "longest"), [(10.0, 5.0), (1.2, 0.6), (1.0, 1.0), (0.3, 0.3), (0.0, 0.0)])
def test_a_try_leaves_time_for_another_unless_there_is_little(left: float, longest: float) -> None:
    assert limit(left) == longest


def test_what_may_take_long_has_the_whole_time_and_is_not_repeated_for_it() -> None:
    tries = Tries(60.0, whole=True)
    assert tries.limit == pytest.approx(60.0, abs=1.0)
    assert tries.pause(error_of(status("TIMED_OUT"))) is None
    assert tries.pause(Unavailable()) is not None


def test_a_further_try_has_some_time_or_is_not_made() -> None:
    short = Tries(0.05)
    assert not short.are_over, "the first one is made in any case"
    assert short.pauses({0: RateLimited()}) == {}
    assert short.are_over
    assert pause(RateLimited(), 0, 0.15, lambda: 1.0) is None


def test_tries_share_one_deadline() -> None:
    assert Tries(0.0).pause(Unavailable()) is None
    tries = Tries(60.0)
    assert 0 < tries.left <= 60.0
    assert tries.pause(Unavailable()) is not None
    assert tries.pauses({0: Unavailable(), 1: NotFound(), 2: RateLimited(retry_after=99.0)}).keys() == {0}
