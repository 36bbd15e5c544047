"""Defines the error tree.

ClarionError
├── ConfigError                 a setting, file or argument is wrong: exit code 2
├── RequestError                a call was rejected; its reason in error_reason.proto has code and status
│   ├── InvalidRequest          all violations at once
│   ├── CampaignPaused
│   ├── IdempotencyKeyReused
│   ├── TooLateToCancel
│   ├── CredentialsMissing
│   ├── CredentialsInvalid
│   ├── ScopeMissing
│   ├── CampaignForbidden
│   ├── NotFound
│   │   ├── CampaignNotFound
│   │   ├── DeliveryNotFound
│   │   ├── KeyNotFound
│   │   └── ResourceNotFound    of the admin API; server/admin/errors.py has its other errors
│   │       ├── ProjectNotFound
│   │       └── EndpointNotFound
│   ├── MethodUnknown           gRPC only: over REST it is an unknown path
│   ├── BodyTooLarge
│   ├── RateLimited
│   ├── StoreUnavailable
│   ├── Overloaded
│   ├── ServerEnding            streams only
│   └── TimedOut
├── TooManyEndpoints            the project has as many webhook endpoints as it may have
└── DeliveryError               an attempt failed, see domain/delivery_errors.py
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

__all__ = [
    "DATABASE_AWAY",
    "BodyTooLarge",
    "CampaignForbidden",
    "CampaignNotFound",
    "CampaignPaused",
    "ClarionError",
    "ConfigError",
    "CredentialsInvalid",
    "CredentialsMissing",
    "DeliveryNotFound",
    "EndpointNotFound",
    "IdempotencyKeyReused",
    "InvalidRequest",
    "KeyNotFound",
    "MethodUnknown",
    "NotFound",
    "Overloaded",
    "ProjectNotFound",
    "RateLimited",
    "RequestError",
    "ResourceNotFound",
    "ScopeMissing",
    "ServerEnding",
    "StoreUnavailable",
    "TimedOut",
    "TooLateToCancel",
    "TooManyEndpoints",
    "Violation",
]


DATABASE_AWAY = "the database cannot be reached"
"""The message of a process that exits because it cannot reach the database. `clarion up` recognises it."""
_SHOWN = 3  # violations that the message of an error names


class ClarionError(Exception):
    """Clarion failed."""

    def __init__(self, message: str | None = None) -> None:
        """Use the message, or the class's docstring if the message is empty."""
        super().__init__(message or type(self).__doc__)


class ConfigError(ClarionError):
    """A setting, file or argument is wrong; the message names it and what to do."""


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken rule of the contract.

    Attributes:
        field: path of the field as the caller wrote it.
        description: what is wrong, for people.
        reason: name of a `ViolationReason`, for programs.
    """

    field: str
    description: str
    reason: str


class RequestError(ClarionError):
    """The request was rejected."""

    reason = "INTERNAL_FAULT"
    """Name of the `ErrorReason` without its prefix; its options determine gRPC code and HTTP status."""
    retry_after: float | None = None
    """Seconds after which the same call may succeed."""
    headers: tuple[tuple[str, str], ...] = ()
    """Sent in addition to the status: trailing metadata over gRPC, headers over REST."""

    def __init__(
        self,
        message: str | None = None,
        *,
        metadata: Mapping[str, str] | None = None,
        violations: Sequence[Violation] = (),
    ) -> None:
        """Create an error with a message for people, and IDs (`metadata`) and violations for programs."""
        super().__init__(message)
        self.metadata = dict(metadata or {})
        self.violations = tuple(violations)


class InvalidRequest(RequestError):
    """The request breaks the contract."""

    reason = "INVALID_REQUEST"

    def __init__(self, violations: Sequence[Violation], *, of: str = "body") -> None:
        """Summarize all violations in the message; `of` is what those without a field refer to."""
        shown = "; ".join(f"{v.field or of}: {v.description}" for v in violations[:_SHOWN])
        more = f"; and {len(violations) - _SHOWN} more" if len(violations) > _SHOWN else ""
        count = "1 violation" if len(violations) == 1 else f"{len(violations)} violations"
        super().__init__(f"{count}: {shown}{more}", violations=violations)


class CampaignPaused(RequestError):
    """The campaign is paused and does not accept triggers."""

    reason = "CAMPAIGN_PAUSED"


class IdempotencyKeyReused(RequestError):
    """The idempotency key was already used for a different trigger; use a new key for each trigger."""

    reason = "IDEMPOTENCY_KEY_REUSED"


class TooLateToCancel(RequestError):
    """The trigger is being sent, or its delivery has ended; it can no longer be cancelled."""

    reason = "TOO_LATE_TO_CANCEL"


class CredentialsMissing(RequestError):
    """The request has no API key; send the header `Authorization: Bearer sk_…`."""

    reason = "CREDENTIALS_MISSING"


class CredentialsInvalid(RequestError):
    """The API key is invalid; send the header `Authorization: Bearer sk_…` with a valid key."""

    reason = "CREDENTIALS_INVALID"


class ScopeMissing(RequestError):
    """The API key lacks a scope that this call needs."""

    reason = "SCOPE_MISSING"


class CampaignForbidden(RequestError):
    """The API key may not trigger this campaign."""

    reason = "CAMPAIGN_FORBIDDEN"


class NotFound(RequestError):
    """The requested resource does not exist."""

    thing = "thing"
    """Noun for the message; with `_id`, and `_` for spaces, it is the key of the ID in the metadata."""

    @classmethod
    def of(cls, number: object) -> Self:
        """Return an error that names the requested ID."""
        return cls(
            f"There is no {cls.thing} {number}.",
            metadata={f"{cls.thing.replace(' ', '_')}_id": str(number)},
        )


class CampaignNotFound(NotFound):
    """There is no campaign with this id."""

    reason = "CAMPAIGN_NOT_FOUND"
    thing = "campaign"


class DeliveryNotFound(NotFound):
    """There is no trigger with this id."""

    reason = "DELIVERY_NOT_FOUND"
    thing = "trigger"


class KeyNotFound(NotFound):
    """There is no key with this id."""

    reason = "KEY_NOT_FOUND"
    thing = "key"


class ResourceNotFound(NotFound):
    """There is no such resource, or the caller may not see it."""

    reason = "RESOURCE_NOT_FOUND"


class ProjectNotFound(ResourceNotFound):
    """There is no project with this name."""

    thing = "project"


class EndpointNotFound(ResourceNotFound):
    """There is no webhook endpoint with this id."""

    thing = "endpoint"


class MethodUnknown(RequestError):
    """Unknown gRPC method; check the names of the service and the method, which reflection lists."""

    reason = "METHOD_UNKNOWN"


class BodyTooLarge(RequestError):
    """The message is too large."""

    reason = "BODY_TOO_LARGE"


class RateLimited(RequestError):
    """The API key or its project exceeded its rate limit; retry after the seconds in `retry-after`."""

    reason = "RATE_LIMITED"

    def __init__(
        self,
        retry_after: float,
        message: str | None = None,
        *,
        metadata: Mapping[str, str] | None = None,
        headers: Sequence[tuple[str, str]] = (),
    ) -> None:
        """Create an error with the seconds until the next call can succeed, and headers with the limits."""
        super().__init__(message, metadata=metadata)
        self.retry_after = retry_after
        self.headers = tuple(headers)


class StoreUnavailable(RequestError):
    """The database cannot be reached; nothing was accepted. Try again shortly."""

    reason = "STORE_UNAVAILABLE"
    retry_after = 2.0


class Overloaded(RequestError):
    """Too many calls are waiting; nothing was accepted. Try again shortly."""

    reason = "OVERLOADED"
    retry_after = 1.0


class ServerEnding(RequestError):
    """This server is shutting down; open the stream again with the last cursor."""

    reason = "SERVER_UNAVAILABLE"


class TimedOut(RequestError):
    """The answer took too long; the trigger may or may not have been accepted."""

    reason = "TIMED_OUT"


class TooManyEndpoints(ClarionError):
    """The project has as many webhook endpoints as a project may have."""
