"""The error reasons, read from error_reason.proto: what happened, what to do, and how they are answered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from google.rpc import code_pb2

from clarion.v1 import error_reason_pb2

from .described import Described, sentence

__all__ = ["Reason", "phrase", "reasons", "violation_reasons"]

ANSWER: Any = error_reason_pb2.answer
# RFC 9110; Python has them from 3.13 on.
NEWER_PHRASES = {413: "Content Too Large", 422: "Unprocessable Content"}
AFTER_A_WAIT = "Yes, after the seconds in `retry-after`."
NOT_AS_IT_IS = "No: the same call fails again."
RETRY = {
    "CAMPAIGN_PAUSED": "Yes, once the campaign is active.",
    "IDEMPOTENCY_KEY_REUSED": "With a new key.",
    "INTERNAL_FAULT": "Not blindly: a trigger may or may not have been accepted.",
    "NOT_READY": "Yes: ask again every second or so.",
    "OVERLOADED": AFTER_A_WAIT,
    "RATE_LIMITED": AFTER_A_WAIT,
    "REQUEST_TOO_SLOW": "Yes.",
    "SERVER_UNAVAILABLE": f"{AFTER_A_WAIT} Without an idempotency key a trigger may then be sent twice.",
    "STORE_UNAVAILABLE": AFTER_A_WAIT,
    "TIMED_OUT": "With an idempotency key, or if sending twice does no harm.",
}


@dataclass(frozen=True, slots=True)
class Reason:
    """One ErrorReason, without the prefix that does not travel."""

    name: str
    happened: str
    to_do: str
    code: int
    statuses: Sequence[int]
    """Over REST; none if only gRPC callers meet it."""

    @property
    def code_name(self) -> str:
        """The gRPC status by name."""
        return code_pb2.Code.Name(self.code)

    @property
    def retry(self) -> str:
        """Whether the same call may be sent again."""
        return RETRY.get(self.name, NOT_AS_IT_IS)


def reasons(described: Described) -> dict[str, Reason]:
    """Return all error reasons by name, in the proto's order.

    Raises:
        LookupError: one has no answer, or a comment that does not say what to do.
    """
    found = {}
    for value in described.enum("ErrorReason").values:
        if value.number:
            name = value.name.removeprefix("ERROR_REASON_")
            answer = value.GetOptions().Extensions[ANSWER]
            happened, to_do = sentence(described.comment(value))
            if not answer.code or not to_do:
                raise LookupError(
                    f"{value.name} needs the option (answer) and a comment that says what to do"
                )
            found[name] = Reason(name, happened, to_do, answer.code, tuple(answer.http_statuses))
    return found


def violation_reasons(described: Described) -> dict[str, str]:
    """Return what each ViolationReason means, by name without its prefix."""
    values = described.enum("ViolationReason").values
    named = {value.name.removeprefix("VIOLATION_REASON_"): value for value in values if value.number}
    return {name: described.comment(value) for name, value in named.items()}


def phrase(status: int) -> str:
    """Return what HTTP calls a status, such as `Not Found`; the same in each version of Python."""
    return NEWER_PHRASES.get(status) or HTTPStatus(status).phrase
