"""The gateway's own replies. REST and gRPC callers get the same `google.rpc.Status`."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from google.protobuf import any_pb2, json_format
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from clarion.v1 import error_reason_pb2 as reasons
from clarion.v1 import options_pb2

__all__ = [
    "ADMIN_KEY_MALFORMED",
    "ADMIN_KEY_MISSING",
    "FAULT",
    "KEY_MALFORMED",
    "KEY_MISSING",
    "KEY_UNKNOWN_TOO_OFTEN",
    "LARGE_HEADERS",
    "MALFORMED",
    "MESSAGE_MISSING",
    "NOT_ALLOWED",
    "NOT_JSON",
    "NOT_READY",
    "NOT_UTF_8",
    "NO_BODY",
    "NO_QUERY",
    "NO_SUCH_PATH",
    "OVERLOADED",
    "TIMED_OUT",
    "TOO_SLOW",
    "UNREACHABLE",
    "UNREADABLE",
    "UPGRADE",
    "Reply",
    "direct_response",
    "header",
    "too_large",
]

Config = dict[str, Any]

ANSWER: Any = options_pb2.answer  # its .pyi file predates typed extensions
JSON = "application/json"
DOMAIN = "clarion"
PREFIX = "ERROR_REASON_"
PRINTABLE = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")
"""Characters that `grpc-message` contains unencoded; others are percent-encoded (gRPC over HTTP/2)."""
ONE_MESSAGE = "the call must have exactly one complete message"
WITHOUT_QUERY = "is not accepted by this path"
ENCODING = "is not UTF-8 in percent-encoding"
NOT_A_VALUE = "has a value of the wrong type; /docs lists what is allowed"
WITHOUT_BODY = "is not accepted by this call; omit it"
CHALLENGE = {"www-authenticate": 'Bearer realm="clarion"'}
WAIT = 1
"""Seconds before a retry; servers are checked twice a second (cluster.py)."""
RETRY_AFTER = {"retry-after": str(WAIT)}
BLOCK = 10
"""Seconds for which unknown keys of an address are rejected after a flood."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply: a reason, whose options define the code and the HTTP status, and a message."""

    reason: reasons.ErrorReason
    message: str
    headers: dict[str, str] = field(default_factory=dict)
    violations: tuple[dict[str, str], ...] = ()
    """The violations of a `BadRequest`, if any."""
    wait: int = WAIT
    """The seconds of a `RetryInfo`, if any."""
    chosen: HTTPStatus | None = None
    """The HTTP status, for a reason that has several."""

    @property
    def code(self) -> int:
        """The `google.rpc.Code`."""
        return self._answer.code

    @property
    def status(self) -> HTTPStatus:
        """The HTTP status over REST."""
        if self.chosen is not None:
            return self.chosen
        (status,) = self._answer.http_statuses
        return HTTPStatus(status)

    @property
    def rich(self) -> status_pb2.Status:
        """The status with its ErrorInfo, and BadRequest and RetryInfo where they apply."""
        name = reasons.ErrorReason.Name(self.reason).removeprefix(PREFIX)
        details: list[Message] = [error_details_pb2.ErrorInfo(reason=name, domain=DOMAIN)]
        if self.violations:
            details.append(error_details_pb2.BadRequest(field_violations=self.violations))
        if self._answer.example.HasField("retry_delay"):
            details.append(error_details_pb2.RetryInfo(retry_delay=Duration(seconds=self.wait)))
        return status_pb2.Status(code=self.code, message=self.message, details=map(_packed, details))

    @property
    def body(self) -> str:
        """The status as JSON, which is the body over REST."""
        return json.dumps(self.as_json(), ensure_ascii=False, separators=(",", ":"))

    @property
    def trailers(self) -> dict[str, str]:
        """The status as trailers of gRPC."""
        binary = base64.b64encode(self.rich.SerializeToString(deterministic=True)).decode()
        message = quote(self.message, safe=PRINTABLE)
        return {"grpc-status": str(self.code), "grpc-message": message, "grpc-status-details-bin": binary}

    def as_json(self) -> Config:
        """Return the status as JSON data."""
        found: Config = json_format.MessageToDict(self.rich, preserving_proto_field_name=True)
        return found

    @property
    def _answer(self) -> options_pb2.ErrorAnswer:
        value = reasons.ErrorReason.DESCRIPTOR.values_by_number[self.reason]
        answer: options_pb2.ErrorAnswer = value.GetOptions().Extensions[ANSWER]
        return answer


NO_SUCH_PATH = Reply(
    reasons.ERROR_REASON_PATH_NOT_FOUND,
    "Nothing exists at this path; /docs lists all paths.",
)
NOT_ALLOWED = Reply(
    reasons.ERROR_REASON_METHOD_NOT_ALLOWED,
    "This path does not support this method; use one of those in the header `allow`.",
)
KEY_MISSING = Reply(
    reasons.ERROR_REASON_CREDENTIALS_MISSING,
    "The request has no API key; send the header `Authorization: Bearer sk_…`.",
    CHALLENGE,
)
KEY_MALFORMED = Reply(
    reasons.ERROR_REASON_CREDENTIALS_INVALID,
    "The API key is invalid; send the header `Authorization: Bearer sk_…` with a valid key.",
    CHALLENGE,
)
ADMIN_KEY_MISSING = Reply(
    reasons.ERROR_REASON_CREDENTIALS_MISSING,
    "The request has no admin key; send the header `Authorization: Bearer ak_…`.",
    CHALLENGE,
)
ADMIN_KEY_MALFORMED = Reply(
    reasons.ERROR_REASON_CREDENTIALS_INVALID,
    "The admin key or session is invalid; send `Authorization: Bearer ak_…` with a valid key.",
    CHALLENGE,
)
KEY_UNKNOWN_TOO_OFTEN = Reply(
    reasons.ERROR_REASON_RATE_LIMITED,
    f"Too many calls from this address have an unknown API key; wait {BLOCK} s, and check the key.",
    {"retry-after": str(BLOCK)},
    wait=BLOCK,
)
MESSAGE_MISSING = Reply(
    reasons.ERROR_REASON_INVALID_REQUEST,
    f"1 violation: {ONE_MESSAGE}",
    violations=({"field": "", "description": ONE_MESSAGE, "reason": "REQUIRED"},),
)
NOT_JSON = Reply(
    reasons.ERROR_REASON_CONTENT_TYPE_UNSUPPORTED,
    "The body must be uncompressed JSON in UTF-8; send the header `Content-Type: application/json`.",
)
NO_QUERY = Reply(
    reasons.ERROR_REASON_INVALID_REQUEST,
    f"1 violation: query: {WITHOUT_QUERY}",
    violations=({"field": "query", "description": WITHOUT_QUERY, "reason": "UNKNOWN_FIELD"},),
)
NOT_UTF_8 = Reply(
    reasons.ERROR_REASON_INVALID_REQUEST,
    f"1 violation: path: {ENCODING}",
    violations=({"field": "path", "description": ENCODING, "reason": "INVALID_FORMAT"},),
)
UNREADABLE = Reply(
    reasons.ERROR_REASON_INVALID_REQUEST,
    f"1 violation: path: {NOT_A_VALUE}",
    violations=({"field": "path", "description": NOT_A_VALUE, "reason": "INVALID_FORMAT"},),
)
NO_BODY = Reply(
    reasons.ERROR_REASON_INVALID_REQUEST,
    f"1 violation: body: {WITHOUT_BODY}",
    violations=({"field": "", "description": WITHOUT_BODY, "reason": "UNKNOWN_FIELD"},),
)
OVERLOADED = Reply(
    reasons.ERROR_REASON_OVERLOADED,
    "Too many calls are in progress; nothing was accepted. Retry after the seconds in `retry-after`.",
    RETRY_AFTER,
)
UNREACHABLE = Reply(
    reasons.ERROR_REASON_SERVER_UNAVAILABLE,
    "No server answered; a trigger may or may not have been accepted. "
    "Retry after the seconds in `retry-after`.",
    RETRY_AFTER,
)
NOT_READY = Reply(
    reasons.ERROR_REASON_NOT_READY,
    "No server here can accept calls now; send them elsewhere until this path answers 200.",
    RETRY_AFTER,
)
TIMED_OUT = Reply(
    reasons.ERROR_REASON_TIMED_OUT,
    "The answer took too long; the call may or may not have taken effect.",
)
TOO_SLOW = Reply(
    reasons.ERROR_REASON_REQUEST_TOO_SLOW,
    "The request arrived too slowly; nothing was accepted. Send it without pauses.",
)
FAULT = Reply(
    reasons.ERROR_REASON_INTERNAL_FAULT,
    "The gateway failed internally; report the header `x-request-id` to its operator.",
)
MALFORMED = Reply(
    reasons.ERROR_REASON_HTTP_REFUSED,
    "The HTTP request is malformed; check its request line, path and headers.",
    chosen=HTTPStatus.BAD_REQUEST,
)
UPGRADE = Reply(
    reasons.ERROR_REASON_HTTP_REFUSED,
    "Connections cannot be upgraded; use plain HTTP/1.1 or HTTP/2.",
    chosen=HTTPStatus.FORBIDDEN,
)
LARGE_HEADERS = Reply(
    reasons.ERROR_REASON_HTTP_REFUSED,
    "The request has too many headers, or they are too large; send fewer or shorter ones.",
    chosen=HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
)


def too_large(limit: int) -> Reply:
    """Return the reply to a body that is larger than a limit in bytes."""
    message = f"The body is larger than {limit} bytes; send less."
    return Reply(reasons.ERROR_REASON_BODY_TOO_LARGE, message)


def direct_response(reply: Reply) -> Config:
    """Return the part of a route that sends a reply without calling a server."""
    headers = {"content-type": JSON, **reply.headers}
    return {
        "direct_response": {"status": int(reply.status), "body": {"inline_string": reply.body}},
        "response_headers_to_add": [header(name, value) for name, value in headers.items()],
    }


def header(name: str, value: str) -> Config:
    """Return Envoy's configuration for setting a header."""
    return {"header": {"key": name, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}


def _packed(detail: Message) -> any_pb2.Any:
    wrapped = any_pb2.Any()
    wrapped.Pack(detail)
    return wrapped
