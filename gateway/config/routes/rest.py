"""The routes of REST calls, which are checked and then transcoded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from http import HTTPStatus
from typing import Any

from ...settings import GatewaySettings
from ..cluster import ROUTED as CLUSTER
from ..contract import Contract, RestPath
from ..per_route import for_colon, for_head, for_rest_path, max_bytes
from ..replies import (
    ADMIN_KEY_MALFORMED,
    ADMIN_KEY_MISSING,
    KEY_MALFORMED,
    KEY_MISSING,
    NO_QUERY,
    NOT_ALLOWED,
    NOT_JSON,
    NOT_UTF_8,
    Reply,
    direct_response,
    too_large,
)
from .calls import no_end, retries
from .matching import longer_than, method_of, negated, regex
from .tree import Branch

__all__ = ["rest_branches"]

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
FINISHED_STREAM = "end"
"""The ID of the last event of a stream that has finished (server/api/sse.py)."""


def rest_branches(settings: GatewaySettings, contract: Contract) -> Iterator[Branch]:
    """Yield the paths of the REST interface."""
    for path in contract.paths:
        yield Branch(path.beginning, list(_rest_routes(settings, path)))


def _rest_routes(settings: GatewaySettings, path: RestPath) -> Iterator[Config]:
    """Yield the routes of a path: rejections in the order of the contract, then the route to a server."""
    allow = replace(NOT_ALLOWED, headers={"allow": ", ".join(path.allowed)})
    yield _refusal(path, [negated(method_of(path.allowed))], allow)
    bearer, missing, malformed = (
        (ADMIN_BEARER, ADMIN_KEY_MISSING, ADMIN_KEY_MALFORMED)
        if path.is_admin
        else (BEARER, KEY_MISSING, KEY_MALFORMED)
    )
    given = {"name": "authorization", "present_match": True}
    # A certificate replaces a key, but not an admin key.
    by_certificate = bool(settings.tls_client_ca) and not path.is_admin
    without_certificate = {"tls_context": {"presented": False}} if by_certificate else {}
    yield _refusal(path, [negated(given)], missing, **without_certificate)
    yield _refusal(path, [given, negated(regex("authorization", bearer))], malformed)
    if path.body_methods:
        has_body = _only_of(path, path.body_methods)
        yield _refusal(path, [*has_body, negated(regex("content-type", JSON_TYPE))], NOT_JSON)
        charset = regex("content-type", CHARSET)
        yield _refusal(path, [*has_body, charset, negated(regex("content-type", UTF_8))], NOT_JSON)
        yield _refusal(path, [*has_body, negated(regex("content-encoding", NOT_COMPRESSED))], NOT_JSON)
    most = max_bytes(settings, path)
    yield _refusal(path, [longer_than(most)], too_large(most))
    if path.methods_without_query:
        without_query = _only_of(path, path.methods_without_query)
        yield _refusal(path, [*without_query, regex(":path", r".*\?.+")], NO_QUERY)
    if path.has_variable:
        yield _refusal(path, [negated(regex(":path", UTF_8_PATH))], NOT_UTF_8)
        yield _refusal(path, [regex(":path", OVERLONG)], NOT_UTF_8)
    if path.streams:
        yield _finished(path)
    yield from _rest_calls(settings, path)


def _only_of(path: RestPath, methods: tuple[str, ...]) -> list[Config]:
    """Return the condition that a call has one of these methods; none if all methods of the path are."""
    return [] if set(methods) == set(path.allowed) else [method_of(methods)]


def _finished(path: RestPath) -> Config:
    """Return the route of a reader that reconnects after a stream has finished: 204 makes it stop.

    https://html.spec.whatwg.org/multipage/server-sent-events.html#server-sent-events-intro
    """
    again = regex("last-event-id", FINISHED_STREAM)
    status = int(HTTPStatus.NO_CONTENT)
    return {"match": {**_match(path), "headers": [again]}, "direct_response": {"status": status}}


def _refusal(path: RestPath, headers: list[Config], reply: Reply, **match: Config) -> Config:
    return {"match": {**_match(path), "headers": headers, **match}, **direct_response(reply)}


def _rest_calls(settings: GatewaySettings, path: RestPath) -> Iterator[Config]:
    """Yield the routes of valid calls, the only ones that enable the REST filters.

    The transcoder knows neither HEAD nor an encoded colon. Only calls with them pay for their conversion.
    """
    time = no_end() if path.streams else {"timeout": f"{settings.request_timeout}s"}
    call = {
        "route": {"cluster": CLUSTER, "retry_policy": retries(), **time},
        "request_headers_to_remove": list(NOT_FOR_THE_SERVER),
    }
    usual = for_rest_path(settings, path)
    variants: list[tuple[list[Config], Config]] = [([], {})]
    if path.accepts_head:
        variants.insert(0, ([method_of(("HEAD",))], for_head()))
    if path.has_verb:
        variants.insert(0, ([regex(":path", ENCODED_COLON)], for_colon()))
    for headers, more in variants:
        match = {**_match(path), "headers": headers}
        yield {"match": match, **call, "typed_per_filter_config": {**usual, **more}}


def _match(path: RestPath) -> Config:
    return {"safe_regex": {"regex": path.regex}}
