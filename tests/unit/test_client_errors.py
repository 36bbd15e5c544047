"""Exceptions of the client, and when it retries."""

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
from clarion_client.retry import Retries, attempt_timeout, pause_before_retry
from tests.kit.cases import each_case

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
RETRYABLE = {"RATE_LIMITED", "STORE_UNAVAILABLE", "OVERLOADED", "SERVER_UNAVAILABLE", "TIMED_OUT"}


def status(reason: str, *details: Any) -> status_pb2.Status:
    """Return a status of this reason, with the code that the contract documents."""
    value = reasons.ErrorReason.DESCRIPTOR.values_by_name[f"ERROR_REASON_{reason}"]
    made = status_pb2.Status(code=value.GetOptions().Extensions[ANSWER].code, message="What happened.")
    for detail in (
        error_details_pb2.ErrorInfo(reason=reason, domain="clarion", metadata={"a": "b"}),
        *details,
    ):
        made.details.add().Pack(detail)
    return made


@each_case("reason", KINDS)
def test_exception_and_retry_of_each_reason(reason: str) -> None:
    error = error_of(status(reason))
    assert type(error) is KINDS[reason]
    assert (error.reason, error.metadata) == (reason, {"a": "b"})
    assert error.retryable == (reason in RETRYABLE)
    assert (pause_before_retry(error, 0, 60.0) is not None) == error.retryable


def test_conflicts_share_a_class() -> None:
    assert all(issubclass(kind, Conflict) for kind in (CampaignPaused, RequestIdReused, TooLateToCancel))


def test_error_has_the_details_of_the_response() -> None:
    violation = {"field": "user.email", "description": "is required", "reason": "REQUIRED"}
    bad = error_details_pb2.BadRequest(field_violations=[violation])
    wait = error_details_pb2.RetryInfo()
    wait.retry_delay.FromMilliseconds(1500)
    error = error_of(status("RATE_LIMITED", bad, wait), "order-7")
    assert str(error) == "What happened."
    assert (error.code, error.retry_after, error.request_id) == ("RESOURCE_EXHAUSTED", 1.5, "order-7")
    assert error.violations == (Violation("user.email", "is required", "REQUIRED"),)


@pytest.mark.parametrize("error", [error_of(status("TIMED_OUT"), "order-7"), timed_out("order-7")])
def test_unknown_outcome_explains_how_to_retry(error: ClarionError) -> None:
    assert "request_id='order-7' is safe" in str(error)
    assert error.request_id == "order-7"


def test_unknown_code_is_a_clarion_error() -> None:
    error = error_of(status_pb2.Status(code=code_pb2.DATA_LOSS, message="x"))
    assert (type(error), error.code, error.reason) == (ClarionError, "DATA_LOSS", "")


def test_error_can_be_pickled() -> None:
    error = pickle.loads(pickle.dumps(error_of(status("CAMPAIGN_PAUSED"), "order-7")))  # noqa: S301
    assert (type(error), str(error), error.reason) == (CampaignPaused, "What happened.", "CAMPAIGN_PAUSED")


@pytest.mark.parametrize(
    ("failures", "retry_after", "left", "longest"),
    [
        (0, None, 5.0, 0.1),
        (1, None, 5.0, 0.2),
        (3, None, 5.0, 0.8),
        (9, None, 5.0, 2.0),
        (10_000, None, 5.0, 2.0),
        (0, 1.5, 5.0, 1.6),
        (0, 1.5, 1.5, None),  # longer than the time left
        (0, None, 0.05, None),
    ],
)
def test_pauses_grow_within_the_deadline(
    failures: int, retry_after: float | None, left: float, longest: float | None
) -> None:
    error = Unavailable(retry_after=retry_after)
    seconds = pause_before_retry(error, failures, left, lambda: 1.0)
    assert seconds == (None if longest is None else pytest.approx(longest))
    if longest is not None:
        assert pause_before_retry(error, failures, left, lambda: 0.0) == (retry_after or 0.0)


def test_timeout_includes_the_previous_error() -> None:
    refused, late = Unavailable("Cannot connect."), timed_out("order-7")
    assert str(final(late, None)) == str(late)
    raised = final(late, refused)
    assert isinstance(raised, TimedOut)
    assert str(raised).startswith("No response in time. Previous attempt: Cannot connect. Retrying")
    assert final(refused, late) is refused
    answered = error_of(status("TIMED_OUT"), "order-7")
    assert final(answered, refused) is answered
    assert final(late, late) is late


@pytest.mark.parametrize(("left", "longest"), [(10.0, 5.0), (1.2, 0.6), (1.0, 1.0), (0.3, 0.3), (0.0, 0.0)])
def test_attempt_uses_half_of_the_time_left(left: float, longest: float) -> None:
    assert attempt_timeout(left) == longest


def test_long_call_may_use_all_the_time() -> None:
    retries = Retries(60.0, may_use_all=True)
    assert retries.attempt_timeout == pytest.approx(60.0, abs=1.0)
    assert retries.pause(error_of(status("TIMED_OUT"))) is None
    assert retries.pause(Unavailable()) is not None


def test_no_retry_without_enough_time() -> None:
    short = Retries(0.05)
    assert not short.are_over, "the first attempt is always made"
    assert short.pauses({0: RateLimited()}) == {}
    assert short.are_over
    assert pause_before_retry(RateLimited(), 0, 0.15, lambda: 1.0) is None


def test_attempts_share_a_deadline() -> None:
    assert Retries(0.0).pause(Unavailable()) is None
    retries = Retries(60.0)
    assert 0 < retries.left <= 60.0
    assert retries.pause(Unavailable()) is not None
    assert retries.pauses({0: Unavailable(), 1: NotFound(), 2: RateLimited(retry_after=99.0)}).keys() == {0}
