"""The routes: gRPC passes through, REST is checked and then transcoded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from http import HTTPStatus
from typing import Any

from ..settings import GatewaySettings
from .cluster import KEYLESS
from .cluster import NAME as CLUSTER
from .contract import ADMIN_SERVICES, Contract, RestPath
from .documents import DOCS_PATH, Document, all_documents
from .filters import HEALTH_PATH, READY_PATH
from .per_route import (
    for_colon,
    for_document,
    for_grpc,
    for_grpc_admin,
    for_grpc_batch,
    for_head,
    for_keyless,
    for_readiness,
    for_rest_path,
    for_stream,
    for_web,
    for_web_admin,
    for_web_batch,
    max_bytes,
)
from .portal import portal_routes
from .replies import (
    ADMIN_KEY_MALFORMED,
    ADMIN_KEY_MISSING,
    KEY_MALFORMED,
    KEY_MISSING,
    NO_QUERY,
    NO_SUCH_PATH,
    NOT_ALLOWED,
    NOT_JSON,
    NOT_READY,
    NOT_UTF_8,
    Reply,
    direct_response,
    header,
    too_large,
)

__all__ = ["route_config"]

Config = dict[str, Any]

BEARER = r"(?i:bearer) +sk_(test_)?[!-~]{36} *"
ADMIN_BEARER = r"(?i:bearer) +a[ks]_[!-~]{36} *"
"""An admin key, or the token of a session in the portal."""
# Other parameters of a content type do not change what JSON means (RFC 8259, 11), so they are not checked.
JSON_TYPE = r"(?i:application/json)[ \t]*(;.*)?"
CHARSET = r"(?i:.*;[ \t]*charset[ \t]*=.*)"
UTF_8 = r"(?i:.*;[ \t]*charset=[\"']?(utf-?8|us-ascii)[\"']?[ \t]*(;.*)?)"
NOT_COMPRESSED = "(?i:(identity)?)"
# Percent-encoded UTF-8 (RFC 3629, 4) but for OVERLONG: Envoy limits expressions. The server reads the query.
UTF_8_PATH = (
    r"(?i:[!-$&->@-~]|%[0-7][0-9a-f]|%c[2-9a-f]T|%d[0-9a-f]T|%e[0-9a-f]TT|%f[0-4]TTT)*(\?.*)?"
).replace("T", "%[89ab][0-9a-f]")
OVERLONG = "(?i:[^?]*%(e0%[89]|ed%[ab]|f0%8|f4%9).*)"
ENCODED_COLON = r"[^?]*%3[Aa].*"
LARGEST = 2**63 - 1
# Servers do not use these headers, or would mistake them for those of a gRPC caller, and each header costs
# them CPU time. `x-envoy-original-path` stays: Envoy's own replies distinguish REST from gRPC by it.
NOT_FOR_THE_SERVER = (
    "accept",
    "accept-encoding",
    "grpc-encoding",
    "grpc-timeout",
    "x-envoy-external-address",
    "x-envoy-original-method",
    "x-forwarded-for",
    "x-forwarded-proto",
)
HEALTH_CHECK = "/grpc.health.v1.Health/Check"
HEALTH_WATCH = "/grpc.health.v1.Health/Watch"
REFLECTION = "/grpc.reflection."
KEYLESS_STREAM_SECONDS = 60
STREAM_IDLE_SECONDS = 3600
WEB_TYPE = {"name": "content-type", "string_match": {"prefix": "application/grpc-web"}}
READING = ("GET", "HEAD")
FINISHED_STREAM = "end"
"""The ID of the last event of a stream that has finished (server/api/sse.py)."""
ENVOYS_OWN_LIMIT = 4096
ONLY_POST = replace(NOT_ALLOWED, headers={"allow": "POST"})


def route_config(settings: GatewaySettings, contract: Contract) -> Config:
    """Return `route_config`: the routes, and the largest file that they serve."""
    documents = all_documents()
    largest = max(document.file.stat().st_size for document in documents)
    return {
        "max_direct_response_body_size_bytes": max(ENVOYS_OWN_LIMIT, largest),
        "virtual_hosts": [_virtual_host(settings, contract, documents)],
    }


def _virtual_host(settings: GatewaySettings, contract: Contract, documents: list[Document]) -> Config:
    """Return the only virtual host. The first route that matches applies."""
    return {
        "name": "clarion",
        "domains": ["*"],
        "routes": [
            *_grpc_routes(settings, contract),
            *_web_routes(settings, contract),
            *_page("/", {"redirect": {"path_redirect": DOCS_PATH, "response_code": "FOUND"}}),
            *_page(HEALTH_PATH, {"direct_response": {"status": int(HTTPStatus.OK)}}),
            # The health filter answers first.
            *_page(READY_PATH, {**direct_response(NOT_READY), "typed_per_filter_config": for_readiness()}),
            *(route for one in documents for route in _page(one.path, _file(one))),
            *(route for path in contract.paths for route in _rest_routes(settings, path)),
            *portal_routes(settings),
            {"match": {"prefix": "/"}, **direct_response(NO_SUCH_PATH)},
        ],
    }


def _page(path: str, answer: Config) -> Iterator[Config]:
    """Yield the routes of a read-only path that the gateway itself serves."""
    allow = replace(NOT_ALLOWED, headers={"allow": ", ".join(READING)})
    yield {"match": {"path": path, "headers": [_method_of(READING)]}, **answer}
    yield {"match": {"path": path}, **direct_response(allow)}


def _file(document: Document) -> Config:
    return {
        "direct_response": {"status": int(HTTPStatus.OK), "body": {"filename": str(document.file)}},
        "response_headers_to_add": [header(*one) for one in document.headers.items()],
        "typed_per_filter_config": for_document(),
    }


def _grpc_routes(settings: GatewaySettings, contract: Contract) -> Iterator[Config]:
    """Yield the routes of native gRPC: without a key, streams, batches, then all other calls."""
    longest = _longest_call(settings)
    short = {"timeout": "0s", "max_stream_duration": {"max_stream_duration": f"{KEYLESS_STREAM_SECONDS}s"}}
    checked = for_keyless()
    yield _grpc_route({"path": HEALTH_CHECK}, {**longest, "priority": "HIGH", "cluster": KEYLESS}, checked)
    yield _grpc_route({"path": HEALTH_WATCH}, {**short, "cluster": KEYLESS}, checked)
    yield _grpc_route({"prefix": REFLECTION}, {**short, "cluster": KEYLESS}, {})
    for path in contract.streams:
        yield _grpc_route({"path": path}, _no_end(), for_stream())
    for path in contract.batches:
        yield _grpc_route({"path": path}, longest, for_grpc_batch())
    yield _grpc_route({"prefix": ADMIN_SERVICES}, longest, for_grpc_admin())
    yield _grpc_route({"prefix": "/"}, longest, for_grpc())
    yield {"match": {"prefix": "/", "grpc": {}}, **direct_response(ONLY_POST)}


def _no_end() -> Config:
    """Return the timeouts of an endless stream, and a priority that other calls do not affect."""
    return {"timeout": "0s", "idle_timeout": f"{STREAM_IDLE_SECONDS}s", "priority": "HIGH"}


def _longest_call(settings: GatewaySettings) -> Config:
    """Return the timeout of a unary call: the caller's deadline, but at most ours."""
    longest = f"{settings.request_timeout}s"
    limits = {"grpc_timeout_header_max": longest, "max_stream_duration": longest}
    return {"timeout": "0s", "max_stream_duration": limits}


def _grpc_route(match: Config, action: Config, filters: Config) -> Config:
    return {
        "match": {**match, "grpc": {}, "headers": [_method_of(("POST",))]},
        "route": {"cluster": CLUSTER, "retry_policy": _retries(), **action},
        # Required by gRPC and missing from some callers; servers answer calls without it by a reset.
        "request_headers_to_add": [header("te", "trailers")],
        "typed_per_filter_config": filters,
    }


def _web_routes(settings: GatewaySettings, contract: Contract) -> Iterator[Config]:
    """Yield the routes of gRPC-Web, for unary calls from programs without HTTP/2.

    There is no CORS: a key must not be used in a browser, where its user can read it.
    """
    action = {"cluster": CLUSTER, "retry_policy": _retries(), **_longest_call(settings)}
    for match, filters in (
        *(({"path": path}, for_web_batch()) for path in contract.batches),
        ({"prefix": ADMIN_SERVICES}, for_web_admin()),
        ({"prefix": "/"}, for_web()),
    ):
        yield {
            "match": {**match, "headers": [WEB_TYPE, _method_of(("POST",))]},
            "route": action,
            "typed_per_filter_config": filters,
        }
    yield {"match": {"prefix": "/", "headers": [WEB_TYPE]}, **direct_response(ONLY_POST)}


def _rest_routes(settings: GatewaySettings, path: RestPath) -> Iterator[Config]:
    """Yield the routes of a path: rejections in the order of the contract, then the route to a server."""
    allow = replace(NOT_ALLOWED, headers={"allow": ", ".join(path.allowed)})
    yield _refusal(path, [_no(_method_of(path.allowed))], allow)
    bearer, missing, malformed = (
        (ADMIN_BEARER, ADMIN_KEY_MISSING, ADMIN_KEY_MALFORMED)
        if path.is_admin
        else (BEARER, KEY_MISSING, KEY_MALFORMED)
    )
    yield _refusal(path, [{"name": "authorization", "present_match": False}], missing)
    yield _refusal(path, [_no(_regex("authorization", bearer))], malformed)
    if path.body_methods:
        takes_body = _method_of(path.body_methods)
        yield _refusal(path, [takes_body, _no(_regex("content-type", JSON_TYPE))], NOT_JSON)
        charset = _regex("content-type", CHARSET)
        yield _refusal(path, [takes_body, charset, _no(_regex("content-type", UTF_8))], NOT_JSON)
        yield _refusal(path, [takes_body, _no(_regex("content-encoding", NOT_COMPRESSED))], NOT_JSON)
    most = max_bytes(settings, path)
    yield _refusal(path, [_longer_than(most)], too_large(most))
    if path.methods_without_query:
        methods = _method_of(path.methods_without_query)
        yield _refusal(path, [methods, _regex(":path", r".*\?.+")], NO_QUERY)
    if path.has_variable:
        yield _refusal(path, [_no(_regex(":path", UTF_8_PATH))], NOT_UTF_8)
        yield _refusal(path, [_regex(":path", OVERLONG)], NOT_UTF_8)
    if path.streams:
        yield _finished(path)
    yield from _rest_calls(settings, path)


def _finished(path: RestPath) -> Config:
    """Return the route of a reader that reconnects after a stream has finished: 204 makes it stop.

    https://html.spec.whatwg.org/multipage/server-sent-events.html#server-sent-events-intro
    """
    again = _regex("last-event-id", FINISHED_STREAM)
    status = int(HTTPStatus.NO_CONTENT)
    return {"match": {**_match(path), "headers": [again]}, "direct_response": {"status": status}}


def _refusal(path: RestPath, headers: list[Config], reply: Reply) -> Config:
    return {"match": {**_match(path), "headers": headers}, **direct_response(reply)}


def _rest_calls(settings: GatewaySettings, path: RestPath) -> Iterator[Config]:
    """Yield the routes of valid calls, the only ones that enable the REST filters.

    The transcoder knows neither HEAD nor an encoded colon. Only calls with them pay for their conversion.
    """
    time = _no_end() if path.streams else {"timeout": f"{settings.request_timeout}s"}
    call = {
        "route": {"cluster": CLUSTER, "retry_policy": _retries(), **time},
        "request_headers_to_remove": list(NOT_FOR_THE_SERVER),
    }
    usual = for_rest_path(settings, path)
    variants: list[tuple[list[Config], Config]] = [([], {})]
    if path.accepts_head:
        variants.insert(0, ([_method_of(("HEAD",))], for_head()))
    if path.has_verb:
        variants.insert(0, ([_regex(":path", ENCODED_COLON)], for_colon()))
    for headers, more in variants:
        match = {**_match(path), "headers": headers}
        yield {"match": match, **call, "typed_per_filter_config": {**usual, **more}}


def _retries() -> Config:
    """Return the retries that cannot duplicate a trigger, because no server has received the request."""
    predicate = "envoy.retry_host_predicates.previous_hosts"
    kind = "type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
    return {
        "retry_on": "connect-failure,refused-stream,reset-before-request",
        "num_retries": 2,
        "retry_host_predicate": [{"name": predicate, "typed_config": {"@type": kind}}],
        "host_selection_retry_max_attempts": 3,
    }


def _match(path: RestPath) -> Config:
    return {"safe_regex": {"regex": path.regex}}


def _method_of(methods: tuple[str, ...]) -> Config:
    return _regex(":method", "|".join(methods))


def _regex(header: str, regex: str) -> Config:
    """Match the whole value of a header. A missing header counts as empty."""
    match = {"safe_regex": {"regex": regex}}
    return {"name": header, "string_match": match, "treat_missing_header_as_empty": True}


def _longer_than(limit: int) -> Config:
    return {"name": "content-length", "range_match": {"start": limit + 1, "end": LARGEST}}


def _no(matcher: Config) -> Config:
    return {**matcher, "invert_match": True}
