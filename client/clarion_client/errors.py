"""The error tree.

ClarionError                a call failed; also anything that fits nothing below
├── InvalidRequest          the request breaks the contract: `violations` lists every violation
├── CredentialsRefused      the API key does not work
├── Forbidden               the API key may not do this
├── NotFound                the campaign or trigger does not exist
├── Conflict                the request is valid, but not in the current state
│   ├── CampaignPaused
│   ├── RequestIdReused     the `request_id` was used for another trigger
│   └── TooLateToCancel
├── TooLarge                the message is too large
├── InternalFault           Clarion failed unexpectedly, and has logged the error
└── (retried until the deadline, then raised)
    ├── RateLimited         the API key or its project exceeded its rate limit
    ├── Unavailable         Clarion cannot be reached, or cannot serve calls now
    └── TimedOut            the call was not answered in time

Arguments that cannot be sent raise a TypeError or a ValueError, before anything is sent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import grpc
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from .results import Violation

__all__ = [
    "CampaignPaused",
    "ClarionError",
    "Conflict",
    "CredentialsRefused",
    "Forbidden",
    "InternalFault",
    "InvalidRequest",
    "NotFound",
    "RateLimited",
    "RequestIdReused",
    "TimedOut",
    "TooLarge",
    "TooLateToCancel",
    "Unavailable",
    "error_of",
    "final",
    "status_of",
    "timed_out",
]


class ClarionError(Exception):
    """A call to Clarion failed."""

    retryable = False
    """Whether the same call may succeed a little later. The client retries it until the deadline."""
    outcome_unknown = False
    """Whether a trigger may have been accepted nevertheless."""

    def __init__(
        self,
        message: str = "",
        *,
        code: str = "UNKNOWN",
        reason: str = "",
        metadata: Mapping[str, str] | None = None,
        violations: Sequence[Violation] = (),
        retry_after: float | None = None,
        request_id: str = "",
    ) -> None:
        """Create an error from a response.

        Args:
            message: For people; the class's docstring if empty.
            code: Name of the gRPC status.
            reason: Name of the ErrorReason.
            metadata: Facts, such as the ID that was not found.
            violations: Every invalid field of the request.
            retry_after: Seconds.
            request_id: Idempotency key of the trigger.
        """
        super().__init__(message or type(self).__doc__)
        self.code = code
        """Name of the gRPC status."""
        self.reason = reason
        """Stable ErrorReason (docs/reference/errors.md); empty if Clarion did not respond."""
        self.metadata = dict(metadata or {})
        self.violations = tuple(violations)
        self.retry_after = retry_after
        """Seconds after which the same call may succeed, if the response states them."""
        self.request_id = request_id
        """Idempotency key of the trigger. With it, the call is safe to repeat."""

    def __str__(self) -> str:
        message = super().__str__()
        if self.outcome_unknown and self.request_id:
            return f"{message} Retrying with request_id={self.request_id!r} is safe: nothing is sent twice."
        return message


class InvalidRequest(ClarionError):
    """The request breaks the contract."""


class CredentialsRefused(ClarionError):
    """The API key does not work."""


class Forbidden(ClarionError):
    """The API key may not do this."""


class NotFound(ClarionError):
    """The campaign or trigger does not exist."""


class Conflict(ClarionError):
    """The request is valid, but not in the current state."""


class CampaignPaused(Conflict):
    """The campaign is paused and does not accept triggers."""


class RequestIdReused(Conflict):
    """The request_id was used for another trigger; use a new one for each."""

    def __str__(self) -> str:
        first = self.metadata.get("trigger_id")
        if not (first and self.request_id):
            return super().__str__()
        return (
            f"{super().__str__()} request_id={self.request_id!r} was used for trigger {first}, which has "
            "different content. send_at is part of the content, so do not compute it from the current time."
        )


class TooLateToCancel(Conflict):
    """The trigger is being sent, or its delivery has ended."""


class TooLarge(ClarionError):
    """The message is too large."""


class InternalFault(ClarionError):
    """Clarion failed unexpectedly."""

    outcome_unknown = True


class RateLimited(ClarionError):
    """The API key or its project exceeded its rate limit."""

    retryable = True


class Unavailable(ClarionError):
    """Clarion cannot be reached, or cannot serve calls now."""

    retryable = outcome_unknown = True


class TimedOut(ClarionError):
    """The call was not answered in time."""

    retryable = outcome_unknown = True


_BY_REASON: dict[str, type[ClarionError]] = {
    "CAMPAIGN_PAUSED": CampaignPaused,
    "IDEMPOTENCY_KEY_REUSED": RequestIdReused,
    "TOO_LATE_TO_CANCEL": TooLateToCancel,
    "RATE_LIMITED": RateLimited,
}
_BY_CODE: dict[str, type[ClarionError]] = {
    "INVALID_ARGUMENT": InvalidRequest,
    "UNAUTHENTICATED": CredentialsRefused,
    "PERMISSION_DENIED": Forbidden,
    "NOT_FOUND": NotFound,
    "FAILED_PRECONDITION": Conflict,
    "RESOURCE_EXHAUSTED": TooLarge,
    "INTERNAL": InternalFault,
    "UNAVAILABLE": Unavailable,
    "DEADLINE_EXCEEDED": TimedOut,
}
# gRPC's codes for a connection that broke during a call. Such a status has no ErrorInfo of Clarion.
_BROKEN = frozenset({"INTERNAL", "UNKNOWN"})


def status_of(failed: grpc.RpcError, target: str) -> status_pb2.Status:
    """Return the status of a failed call. If gRPC itself created it, the message names the target."""
    call: Any = failed  # RpcError has no methods; the exceptions that stubs raise have those of grpc.Call
    code = call.code().name
    try:
        status = rpc_status.from_call(call)
    except ValueError:  # the details belong to another status
        status = None
    if status is not None:
        return _with_header(status, call.trailing_metadata())
    if code in _BROKEN:
        code = "UNAVAILABLE"
    return status_pb2.Status(code=code_pb2.Code.Value(code), message=_explain(code, call.details(), target))


def error_of(status: status_pb2.Status, request_id: str = "") -> ClarionError:
    """Return the exception for a status.

    Args:
        status: The status of a failed call, or of an item of a batch.
        request_id: Idempotency key of the trigger, if the call was for one.
    """
    info = error_details_pb2.ErrorInfo()
    bad = error_details_pb2.BadRequest()
    retry = error_details_pb2.RetryInfo()
    waits = [_found(status, detail) for detail in (info, bad, retry)][-1]
    code = code_pb2.Code.Name(status.code)
    kind = _BY_REASON.get(info.reason) or _BY_CODE.get(code, ClarionError)
    return kind(
        status.message,
        code=code,
        reason=info.reason,
        metadata=info.metadata,
        violations=[Violation(v.field, v.description, v.reason) for v in bad.field_violations],
        retry_after=retry.retry_delay.ToMilliseconds() / 1000 if waits else None,
        request_id=request_id,
    )


def timed_out(request_id: str) -> TimedOut:
    """Return the error of a trigger whose deadline has passed."""
    return TimedOut("No response in time.", code="DEADLINE_EXCEEDED", request_id=request_id)


def final(error: ClarionError, previous: ClarionError | None) -> ClarionError:
    """Return the error to raise after the last attempt.

    If that attempt only timed out, the message includes the error of the attempt before it.
    """
    if previous is None or not _is_bare_timeout(error) or _is_bare_timeout(previous):
        return error
    message = f"{error.args[0]} Previous attempt: {previous.args[0]}"
    return TimedOut(message, code=error.code, request_id=error.request_id)


def _is_bare_timeout(error: ClarionError) -> bool:
    """Return whether an error is a timeout without a response."""
    return isinstance(error, TimedOut) and not error.reason


def _found(status: status_pb2.Status, detail: Message) -> bool:
    """Fill a detail from the status, and return whether the status has it."""
    return any(packed.Unpack(detail) for packed in status.details)


def _with_header(status: status_pb2.Status, trailers: Any) -> status_pb2.Status:
    """Add the `retry-after` of the gateway's own responses, which is only in their header."""
    seconds = dict(trailers or ()).get("retry-after", "")
    if str(seconds).isdecimal() and not _found(status, error_details_pb2.RetryInfo()):
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromSeconds(int(seconds))
        status.details.add().Pack(retry)
    return status


def _explain(code: str, details: str | None, target: str) -> str:
    """Return the message of a status that gRPC itself created."""
    if code == "DEADLINE_EXCEEDED":
        return f"No response from {target} in time."
    if code == "UNAVAILABLE":
        words = str(details)
        if "WRONG_VERSION_NUMBER" in words:
            return f"{target} does not speak TLS ({words}); if it is a plain HTTP port, use http://."
        if any(word in words.lower() for word in ("ssl", "certificate", "handshake")):
            return (
                f"No trusted TLS connection to {target} ({words}); set ca_file to the certificates to trust, "
                "and use a host name that the gateway's certificate covers."
            )
        return f"Cannot reach {target} ({words}); check that Clarion is running there, and http or https."
    return f"{target} returned {code}: {details}"
