"""The error tree.

ClarionError                an answer that is a refusal, or none; also what fits nothing below
├── InvalidRequest          the request breaks the contract: all `violations` at once
├── CredentialsRefused      the key does not work
├── Forbidden               the key works, but not for this
├── NotFound                there is no such campaign or trigger
├── Conflict                right in itself, but not as things stand
│   ├── CampaignPaused
│   ├── RequestIdReused     the `request_id` stands for another trigger
│   └── TooLateToCancel
├── TooLarge                the message is larger than Clarion takes
├── InternalFault           a fault in Clarion, which has logged it
└── (passing: tried again until the deadline, then raised)
    ├── RateLimited         more calls than the key, or its project, is allowed
    ├── Unavailable         Clarion cannot be reached, or cannot work now
    └── TimedOut            no answer in time

Arguments that cannot be sent at all are a TypeError or a ValueError, before anything is sent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import grpc
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from .answers import Violation

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
    """Clarion refused a call, or did not answer it."""

    passing = False
    """Whether the same call may succeed a little later."""
    unsure = False
    """Whether a trigger may have been accepted all the same."""

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
        """Take what the answer said; without a message, the class's docstring is the message."""
        super().__init__(message or type(self).__doc__)
        self.code = code
        """Name of the gRPC status."""
        self.reason = reason
        """The stable name of what went wrong (docs/reference/errors.md); empty if Clarion gave no answer."""
        self.metadata = dict(metadata or {})
        self.violations = tuple(violations)
        self.retry_after = retry_after
        """Seconds after which the same call may succeed, if the answer said so."""
        self.request_id = request_id
        """Of the trigger. With it the same call can safely be made again."""

    def __str__(self) -> str:
        message = super().__str__()
        if self.unsure and self.request_id:
            return (
                f"{message} Calling again with request_id={self.request_id!r} is safe: nothing is sent twice."
            )
        return message


class InvalidRequest(ClarionError):
    """The request breaks the contract."""


class CredentialsRefused(ClarionError):
    """The key does not work."""


class Forbidden(ClarionError):
    """The key may not do this."""


class NotFound(ClarionError):
    """There is no such thing."""


class Conflict(ClarionError):
    """The call cannot be served as things stand."""


class CampaignPaused(Conflict):
    """The campaign is paused and takes no triggers now."""


class RequestIdReused(Conflict):
    """The request_id stands for another trigger: use a new one for each."""

    def __str__(self) -> str:
        first = self.metadata.get("trigger_id")
        if not (first and self.request_id):
            return super().__str__()
        return (
            f"{super().__str__()} request_id={self.request_id!r} stands for trigger {first}, which says "
            "something else. send_at counts too: one of now() + … is another on every call."
        )


class TooLateToCancel(Conflict):
    """The trigger is being sent, or its delivery has ended."""


class TooLarge(ClarionError):
    """The message is larger than Clarion takes."""


class InternalFault(ClarionError):
    """A fault in Clarion."""

    unsure = True


class RateLimited(ClarionError):
    """More calls were made than the key, or its project, is allowed."""

    passing = True


class Unavailable(ClarionError):
    """Clarion cannot be reached, or cannot work now."""

    passing = unsure = True


class TimedOut(ClarionError):
    """No answer came in time."""

    passing = unsure = True


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
# gRPC's own words for a connection that broke in the middle of a call, without an ErrorInfo of Clarion.
_BROKEN = frozenset({"INTERNAL", "UNKNOWN"})


def status_of(failed: grpc.RpcError, target: str) -> status_pb2.Status:
    """Return the status of a failed call. One that gRPC made itself is told in words that name the target."""
    call: Any = failed  # RpcError is bare; what stubs raise is a Call, or has its methods
    code = call.code().name
    try:
        status = rpc_status.from_call(call)
    except ValueError:  # details of another status than the call's
        status = None
    if status is not None:
        return _with_header(status, call.trailing_metadata())
    if code in _BROKEN:
        code = "UNAVAILABLE"
    return status_pb2.Status(code=code_pb2.Code.Value(code), message=_own_words(code, call.details(), target))


def error_of(status: status_pb2.Status, request_id: str = "") -> ClarionError:
    """Return the exception that a status means; `request_id` is that of the trigger, if it is about one."""
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
    """Return the error of a trigger whose caller can wait no longer."""
    return TimedOut("No answer in time.", code="DEADLINE_EXCEEDED", request_id=request_id)


def final(error: ClarionError, before: ClarionError | None) -> ClarionError:
    """Return the error to raise: if it only says that time is over, with what the try `before` it met."""
    if before is None or not _is_bare(error) or _is_bare(before):
        return error
    message = f"{error.args[0]} The try before it: {before.args[0]}"
    return TimedOut(message, code=error.code, request_id=error.request_id)


def _is_bare(error: ClarionError) -> bool:
    """Tell whether it says no more than that time is over."""
    return isinstance(error, TimedOut) and not error.reason


def _found(status: status_pb2.Status, detail: Message) -> bool:
    """Fill the detail from the status, if it is there; tell whether it was."""
    return any(packed.Unpack(detail) for packed in status.details)


def _with_header(status: status_pb2.Status, trailers: Any) -> status_pb2.Status:
    """Add the gateway's own `retry-after`, which it gives as a header alone."""
    seconds = dict(trailers or ()).get("retry-after", "")
    if str(seconds).isdecimal() and not _found(status, error_details_pb2.RetryInfo()):
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromSeconds(int(seconds))
        status.details.add().Pack(retry)
    return status


def _own_words(code: str, details: str | None, target: str) -> str:
    if code == "DEADLINE_EXCEEDED":
        return f"No answer from {target} in time."
    if code == "UNAVAILABLE":
        words = str(details)
        if "WRONG_VERSION_NUMBER" in words:
            return f"No TLS at {target}, which seems to speak plain HTTP: is it http://? ({words})"
        if any(word in words.lower() for word in ("ssl", "certificate", "handshake")):
            return (
                f"No TLS connection to {target} that can be trusted ({words}): ca_file names the "
                "certificates to trust, and the target must be a host that the gateway's certificate is for."
            )
        return f"No answer from {target} ({words}): is Clarion running there, and is it http or https?"
    return f"{target} answered {code}: {details}"
