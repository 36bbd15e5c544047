"""The portal's errors, each with the HTTP status of its page. Those of the API are converted here.

PortalError
├── ApiError             the admin API rejected a call
│   └── ServersUnreachable
├── SignedOut            there is no session
├── PageNotFound
├── ReadOnly
├── NotAllowed           the person's roles do not allow it
├── NotFromThePortal     a form of another origin, or an outdated one
├── TooLarge
├── TooManyStreams
└── TooManyAttempts
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from clarion.v1 import error_reason_pb2, options_pb2

__all__ = [
    "ApiError",
    "NotAllowed",
    "NotFromThePortal",
    "PageNotFound",
    "PortalError",
    "ReadOnly",
    "ServersUnreachable",
    "SignedOut",
    "TooLarge",
    "TooManyAttempts",
    "TooManyStreams",
    "Violation",
    "api_error",
]

_ANSWER: Any = options_pb2.answer  # its .pyi file predates typed extensions
_SIGNED_OUT = {"CREDENTIALS_MISSING", "CREDENTIALS_INVALID"}
_PREFIX = "ERROR_REASON_"
_AWAY = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.DEADLINE_EXCEEDED)
"""Statuses of gRPC itself: the servers' own errors have a reason."""


class PortalError(Exception):
    """The portal cannot do this."""

    status = HTTPStatus.INTERNAL_SERVER_ERROR
    title = "Something went wrong"

    def __init__(self, message: str = "") -> None:
        super().__init__(message or (self.__doc__ or "").strip())


class SignedOut(PortalError):
    """Sign in to continue."""

    status = HTTPStatus.UNAUTHORIZED
    title = "Sign in"


class PageNotFound(PortalError):
    """Nothing exists at this address. The link may be outdated, or mistyped."""

    status = HTTPStatus.NOT_FOUND
    title = "Page not found"


class ReadOnly(PortalError):
    """The portal is in read-only mode (portal.read_only), so nothing can be changed here."""

    status = HTTPStatus.FORBIDDEN
    title = "Read-only mode"


class NotAllowed(PortalError):
    """Your roles do not allow this. Nothing was changed."""

    status = HTTPStatus.FORBIDDEN
    title = "Not allowed"


class NotFromThePortal(PortalError):
    """This form was not sent by this page of the portal, or it is outdated. Nothing was changed."""

    status = HTTPStatus.FORBIDDEN
    title = "Form rejected"


class TooLarge(PortalError):
    """The form is larger than 1 MiB. Nothing was changed; send less."""

    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    title = "Form too large"


class TooManyStreams(PortalError):
    """You have too many live pages and downloads open. Close another tab, then try again."""

    status = HTTPStatus.TOO_MANY_REQUESTS
    title = "Too many open pages"


class TooManyAttempts(PortalError):
    """Too many attempts to sign in from this address failed."""

    status = HTTPStatus.TOO_MANY_REQUESTS
    title = "Too many attempts"


@dataclass(frozen=True, slots=True)
class Violation:
    """What is wrong with a field of a request."""

    field: str
    description: str


class ApiError(PortalError):
    """The admin API rejected a call.

    Attributes:
        reason: The reason, such as `ETAG_MISMATCH`.
        violations: What is wrong, per field.
    """

    def __init__(
        self, reason: str, message: str, violations: tuple[Violation, ...] = (), status: int = 500
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.violations = violations
        self.status = HTTPStatus(status)
        self.title = _title(self.status)

    @property
    def is_signed_out(self) -> bool:
        """Whether the session has ended."""
        return self.reason in _SIGNED_OUT


class ServersUnreachable(ApiError):
    """No server of Clarion can be reached. What you see may be outdated; try again in a few seconds."""

    def __init__(self) -> None:
        super().__init__(
            "SERVER_UNAVAILABLE", (self.__doc__ or "").strip(), status=HTTPStatus.SERVICE_UNAVAILABLE
        )


def api_error(error: grpc.aio.AioRpcError) -> ApiError:
    """Convert an error of gRPC."""
    call: Any = error  # the type stub does not know the errors of grpc.aio
    rich = rpc_status.from_call(call)
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    for detail in rich.details if rich else ():
        _ = detail.Unpack(info) or detail.Unpack(bad)
    if not info.reason:
        if error.code() in _AWAY:
            return ServersUnreachable()
        return ApiError("INTERNAL_FAULT", error.details() or "The server failed unexpectedly.")
    violations = tuple(Violation(one.field, one.description) for one in bad.field_violations)
    return ApiError(info.reason, error.details() or "", violations, _http_status(info.reason))


@functools.cache
def _http_status(reason: str) -> int:
    """Return the status that REST has for a reason."""
    value = error_reason_pb2.ErrorReason.DESCRIPTOR.values_by_name.get(_PREFIX + reason)
    statuses = value.GetOptions().Extensions[_ANSWER].http_statuses if value else ()
    return next(iter(statuses), int(HTTPStatus.INTERNAL_SERVER_ERROR))


def _title(status: HTTPStatus) -> str:
    titles = {
        HTTPStatus.FORBIDDEN: "Not allowed",
        HTTPStatus.NOT_FOUND: "Not found",
        HTTPStatus.CONFLICT: "Conflict",
        HTTPStatus.UNPROCESSABLE_ENTITY: "Invalid request",
        HTTPStatus.TOO_MANY_REQUESTS: "Too many requests",
        HTTPStatus.SERVICE_UNAVAILABLE: "Temporarily unavailable",
        HTTPStatus.GATEWAY_TIMEOUT: "Took too long",
    }
    return titles.get(status, PortalError.title)
