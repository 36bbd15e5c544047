"""The answers that the gateway gives itself, each a `google.rpc.Status` as JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from google.rpc import code_pb2

from .options import GatewayOptions

__all__ = [
    "CHALLENGE",
    "KEY_MALFORMED",
    "KEY_MISSING",
    "NOT_ALLOWED",
    "NOT_JSON",
    "NO_QUERY",
    "NO_SUCH_PATH",
    "Reply",
    "direct_response",
    "local_replies",
    "too_large",
]

Config = dict[str, Any]

JSON = "application/json"
RPC = "type.googleapis.com/google.rpc"
CHALLENGE = 'Bearer realm="clarion"'
RETRY_AFTER = "1"
"""Seconds; servers are checked every second."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer: HTTP status, `google.rpc.Code`, ErrorReason without its prefix, and what to do."""

    status: HTTPStatus
    code: int
    reason: str
    message: str
    headers: dict[str, str] = field(default_factory=dict)
    violations: tuple[dict[str, str], ...] = ()
    """Those of a `BadRequest`, if it is one."""

    @property
    def body(self) -> str:
        """The `google.rpc.Status` with its one `ErrorInfo`, as JSON."""
        details = [_error_info(self.reason), *_bad_request(self.violations)]
        status = {"code": self.code, "message": self.message, "details": details}
        return json.dumps(status, ensure_ascii=False, separators=(",", ":"))


NO_SUCH_PATH = Reply(
    HTTPStatus.NOT_FOUND,
    code_pb2.NOT_FOUND,
    "PATH_NOT_FOUND",
    "There is nothing at this path: check it against the documentation.",
)
NOT_ALLOWED = Reply(
    HTTPStatus.METHOD_NOT_ALLOWED,
    code_pb2.UNIMPLEMENTED,
    "METHOD_NOT_ALLOWED",
    "This path does not take this method: use one of those in the header `allow`.",
)
KEY_MISSING = Reply(
    HTTPStatus.UNAUTHORIZED,
    code_pb2.UNAUTHENTICATED,
    "CREDENTIALS_MISSING",
    "No API key was sent: send the header `Authorization: Bearer sk_…`.",
    {"www-authenticate": CHALLENGE},
)
KEY_MALFORMED = Reply(
    HTTPStatus.UNAUTHORIZED,
    code_pb2.UNAUTHENTICATED,
    "CREDENTIALS_INVALID",
    "The API key does not work: use `Authorization: Bearer sk_…` with a key that does.",
    {"www-authenticate": CHALLENGE},
)
NOT_JSON = Reply(
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    code_pb2.INVALID_ARGUMENT,
    "CONTENT_TYPE_UNSUPPORTED",
    "The body must be uncompressed JSON in UTF-8: send the header `Content-Type: application/json`.",
)
NO_QUERY = Reply(
    HTTPStatus.UNPROCESSABLE_ENTITY,
    code_pb2.INVALID_ARGUMENT,
    "INVALID_REQUEST",
    "1 violation: query: is not taken by this path",
    violations=({"field": "query", "description": "is not taken by this path", "reason": "UNKNOWN_FIELD"},),
)
UNREACHABLE = Reply(
    HTTPStatus.SERVICE_UNAVAILABLE,
    code_pb2.UNAVAILABLE,
    "SERVER_UNAVAILABLE",
    "No server answered; a trigger may or may not have been accepted. "
    "Try again after the seconds in the header `retry-after`.",
    {"retry-after": RETRY_AFTER},
)
TIMED_OUT = Reply(
    HTTPStatus.GATEWAY_TIMEOUT,
    code_pb2.DEADLINE_EXCEEDED,
    "TIMED_OUT",
    "The answer took too long; the call may or may not have taken effect.",
)
FAULT = Reply(
    HTTPStatus.INTERNAL_SERVER_ERROR,
    code_pb2.INTERNAL,
    "INTERNAL_FAULT",
    "A fault in the gateway: tell its operator the header `x-request-id`.",
)
REFUSED = {
    HTTPStatus.BAD_REQUEST: "The HTTP request is malformed: check its request line, path and headers.",
    HTTPStatus.FORBIDDEN: "Connections cannot be upgraded here: send plain HTTP/1.1 or HTTP/2.",
    HTTPStatus.REQUEST_TIMEOUT: "The request arrived too slowly: send all of it at once.",
    HTTPStatus.UPGRADE_REQUIRED: "This HTTP version is not spoken here: use HTTP/1.1 or HTTP/2.",
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: "The request has too many or too long headers: send fewer.",
}


def too_large(options: GatewayOptions) -> Reply:
    """Return the answer to a body above the limit."""
    return Reply(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        code_pb2.RESOURCE_EXHAUSTED,
        "BODY_TOO_LARGE",
        f"The body is larger than {options.max_body_bytes} bytes: send less.",
    )


def direct_response(reply: Reply) -> Config:
    """Return the part of a route that answers without a server."""
    headers = {"content-type": JSON, **reply.headers}
    return {
        "direct_response": {"status": int(reply.status), "body": {"inline_string": reply.body}},
        "response_headers_to_add": [_header(name, value) for name, value in headers.items()],
    }


def local_replies(options: GatewayOptions) -> Config:
    """Return `local_reply_config`: our JSON for what Envoy refuses by itself. The first match wins."""
    refused = [
        Reply(status, _code_of(status), "HTTP_REFUSED", message) for status, message in REFUSED.items()
    ]
    replies = [NO_SUCH_PATH, too_large(options), *refused, UNREACHABLE, TIMED_OUT, FAULT]
    return {"mappers": [_leave_grpc_alone(), _untranslatable(), *map(_mapper, replies)]}


def _code_of(status: HTTPStatus) -> int:
    """Return the `google.rpc.Code` of a request that Envoy refuses."""
    slow = status is HTTPStatus.REQUEST_TIMEOUT
    return code_pb2.DEADLINE_EXCEEDED if slow else code_pb2.INVALID_ARGUMENT


def _mapper(reply: Reply) -> Config:
    """Return a mapper that gives Envoy's own answer of this status our body and headers."""
    return {
        "filter": _has_status(reply.status),
        "body_format_override": {
            "text_format_source": {"inline_string": reply.body},
            "content_type": JSON,
        },
        "headers_to_add": [_header(name, value) for name, value in reply.headers.items()],
    }


def _error_info(reason: str) -> Config:
    return {"@type": f"{RPC}.ErrorInfo", "reason": reason, "domain": "clarion"}


def _bad_request(violations: tuple[dict[str, str], ...]) -> list[Config]:
    return [{"@type": f"{RPC}.BadRequest", "field_violations": list(violations)}] if violations else []


def _untranslatable() -> Config:
    """Return a mapper for paths and queries that the transcoder cannot turn into a message.

    Its status 400 becomes 422 with that of the servers' own refusals, in `answers.lua`.
    """
    why = "%LOCAL_REPLY_BODY%"
    violation = {"field": "query", "description": why, "reason": "INVALID_FORMAT"}
    expression = "response.code_details.contains('grpc_json_transcode_failure')"
    kind = "type.googleapis.com/envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter"
    cel = {"name": "cel", "typed_config": {"@type": kind, "expression": expression}}
    details = [_error_info("INVALID_REQUEST"), *_bad_request((violation,))]
    message = f"1 violation: query: {why}"
    status = {"code": code_pb2.INVALID_ARGUMENT, "message": message, "details": details}
    return {
        "filter": {
            "and_filter": {"filters": [_has_status(HTTPStatus.BAD_REQUEST), {"extension_filter": cel}]}
        },
        "body_format_override": {"json_format": status},
    }


def _has_status(status: HTTPStatus) -> Config:
    value = {"default_value": int(status), "runtime_key": "clarion.unused"}
    return {"status_code_filter": {"comparison": {"op": "EQ", "value": value}}}


def _leave_grpc_alone() -> Config:
    """Return a mapper that keeps the text for gRPC callers, who read it as `grpc-message`.

    A transcoded REST call also has a gRPC content type by then; its original path tells it apart.
    """
    is_grpc = {"name": "content-type", "string_match": {"prefix": "application/grpc"}}
    was_rest = {"name": "x-envoy-original-path", "present_match": True}
    return {
        "filter": {
            "and_filter": {
                "filters": [
                    {"header_filter": {"header": is_grpc}},
                    {"header_filter": {"header": {**was_rest, "invert_match": True}}},
                ]
            }
        }
    }


def _header(name: str, value: str) -> Config:
    return {"header": {"key": name, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
