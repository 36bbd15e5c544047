"""Converts Envoy's own error responses to our format. In `local_reply_config`, the first match applies."""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

from ..settings import GatewaySettings
from .contract import ADMIN_PATH, BATCH_PATH
from .floods import CAUSE
from .per_route import MAX_ADMIN_BYTES
from .portal import SECURITY, portal_replies
from .replies import (
    FAULT,
    JSON,
    KEY_UNKNOWN_TOO_OFTEN,
    LARGE_HEADERS,
    MALFORMED,
    MESSAGE_MISSING,
    NO_BODY,
    NO_SUCH_PATH,
    NOT_ALLOWED,
    NOT_READY,
    OVERLOADED,
    TIMED_OUT,
    TOO_SLOW,
    UNREACHABLE,
    UNREADABLE,
    UPGRADE,
    Reply,
    header,
    too_large,
)

__all__ = ["local_replies"]

Config = dict[str, Any]

ACCESS_LOG_FILTERS = "type.googleapis.com/envoy.extensions.access_loggers.filters"


def local_replies(settings: GatewaySettings) -> Config:
    """Return `local_reply_config`."""
    cases = [*_by_cause(settings), *_by_status(settings)]
    mappers = [mapper for condition, reply in cases for mapper in _mappers(condition, reply)]
    return {"mappers": [*_for_browsers(settings), *_untranslatable(), *mappers]}


def _by_cause(settings: GatewaySettings) -> Iterator[tuple[Config, Reply]]:
    """Yield the replies for causes that Envoy's HTTP status does not distinguish."""
    yield {"response_flag_filter": {"flags": ["UO"]}}, OVERLOADED
    yield _because("response.code_details == 'overload'"), OVERLOADED  # memory is scarce
    yield _because("response.code_details == 'reached_concurrency_limit'"), OVERLOADED
    yield _because("response.code_details == 'local_rate_limited'"), OVERLOADED  # a document
    by_script = _because("response.code_details == 'lua_response'")
    yield _because(f"response.code_details == '{CAUSE}'"), KEY_UNKNOWN_TOO_OFTEN
    yield _all(_has_status(HTTPStatus.BAD_REQUEST), by_script), MESSAGE_MISSING
    sick = _because("response.code_details.startsWith('health_check')")  # its 200 has the same detail
    yield _all(_has_status(HTTPStatus.SERVICE_UNAVAILABLE), sick), NOT_READY
    # Envoy answers 408 for a gRPC call that took too long, although the request may have arrived in time.
    late = _because("response.code_details == 'max_duration_timeout'")
    yield _all(_has_status(HTTPStatus.REQUEST_TIMEOUT), late), TIMED_OUT
    batch = _because(f"request.url_path.endsWith('{BATCH_PATH}')")
    large = _has_status(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    yield _all(large, batch), too_large(settings.max_batch_bytes)
    yield _all(large, _because(f"request.url_path.startsWith('{ADMIN_PATH}')")), too_large(MAX_ADMIN_BYTES)


def _by_status(settings: GatewaySettings) -> Iterator[tuple[Config, Reply]]:
    """Yield the replies that Envoy's HTTP status determines."""
    large = too_large(settings.max_body_bytes)
    same = (NO_SUCH_PATH, NOT_ALLOWED, large, MALFORMED, UPGRADE, TOO_SLOW, LARGE_HEADERS)
    for reply in (*same, UNREACHABLE, TIMED_OUT, FAULT):
        yield _has_status(reply.status), reply
    yield _has_status(HTTPStatus.NOT_IMPLEMENTED), MALFORMED  # an unknown transfer-encoding
    yield _has_status(HTTPStatus.BAD_GATEWAY), UNREACHABLE  # the server broke the protocol


def _mappers(condition: Config, reply: Reply) -> list[Config]:
    """Return the mappers of a reply for gRPC callers and for all others."""
    return [_for_grpc(condition, reply), _for_rest(condition, reply)]


def _for_grpc(condition: Config, reply: Reply) -> Config:
    """Return a mapper to gRPC's rich status: headers without a body, which gRPC-Web callers also accept."""
    return {
        "filter": _all(condition, *_is_grpc()),
        "status_code": int(HTTPStatus.OK),
        "body_format_override": {"text_format_source": {"inline_string": ""}},
        "headers_to_add": [header(*one) for one in {**reply.trailers, **reply.headers}.items()],
    }


def _for_rest(condition: Config, reply: Reply) -> Config:
    """Return a mapper to our JSON body, status and headers."""
    text = {"text_format_source": {"inline_string": reply.body}, "content_type": JSON}
    return {
        "filter": condition,
        "status_code": int(reply.status),
        "body_format_override": text,
        "headers_to_add": [header(*one) for one in reply.headers.items()],
    }


def _for_browsers(settings: GatewaySettings) -> Iterator[Config]:
    """Yield mappers to pages, for the paths of the portal."""
    for condition, status, page in portal_replies(settings):
        text = {"text_format_source": {"inline_string": page}, "content_type": SECURITY["content-type"]}
        yield {
            "filter": _because(condition),
            "status_code": int(status),
            "body_format_override": text,
            "headers_to_add": [header(*one) for one in SECURITY.items()],
        }


def _untranslatable() -> Iterator[Config]:
    """Yield mappers for requests that the transcoder cannot convert to a message.

    It converts neither queries nor bodies of calls that accept them (server/intake/rest_message.py), so what
    it cannot convert is a body that the call does not accept, or a variable of the path.
    """
    cause = "response.code_details.contains('grpc_json_transcode_failure')"
    for condition, answer in ((f"{cause} && request.size > 0", NO_BODY), (cause, UNREADABLE)):
        yield {
            "filter": _all(_has_status(HTTPStatus.BAD_REQUEST), _because(condition)),
            "status_code": int(answer.status),
            "body_format_override": {"json_format": answer.as_json()},
        }


def _is_grpc() -> tuple[Config, Config]:
    """Return the conditions that only gRPC callers meet.

    By then a transcoded REST call also has a gRPC content type, but it has an original path.
    """
    is_grpc = {"name": "content-type", "string_match": {"prefix": "application/grpc"}}
    not_rest = {"name": "x-envoy-original-path", "present_match": True, "invert_match": True}
    return {"header_filter": {"header": is_grpc}}, {"header_filter": {"header": not_rest}}


def _has_status(status: HTTPStatus) -> Config:
    value = {"default_value": int(status), "runtime_key": "clarion.unused"}
    return {"status_code_filter": {"comparison": {"op": "EQ", "value": value}}}


def _because(expression: str) -> Config:
    """Return a condition in the Common Expression Language."""
    kind = f"{ACCESS_LOG_FILTERS}.cel.v3.ExpressionFilter"
    return {"extension_filter": {"name": "cel", "typed_config": {"@type": kind, "expression": expression}}}


def _all(*conditions: Config) -> Config:
    return {"and_filter": {"filters": list(conditions)}}
