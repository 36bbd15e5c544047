"""The routes of gRPC and gRPC-Web, which Envoy passes through to the servers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from ...settings import GatewaySettings
from ..cluster import KEYLESS
from ..cluster import ROUTED as CLUSTER
from ..contract import ADMIN_SERVICES, Contract
from ..per_route import (
    for_grpc,
    for_grpc_admin,
    for_grpc_batch,
    for_keyless,
    for_stream,
    for_web,
    for_web_admin,
    for_web_batch,
)
from ..replies import NOT_ALLOWED, direct_response, header
from .calls import longest_call, no_end, retries
from .matching import method_of

__all__ = ["grpc_routes", "web_routes"]

Config = dict[str, Any]

HEALTH_CHECK = "/grpc.health.v1.Health/Check"
HEALTH_WATCH = "/grpc.health.v1.Health/Watch"
REFLECTION = "/grpc.reflection."
KEYLESS_STREAM_SECONDS = 60
WEB_TYPE = {"name": "content-type", "string_match": {"prefix": "application/grpc-web"}}
ONLY_POST = replace(NOT_ALLOWED, headers={"allow": "POST"})


def grpc_routes(settings: GatewaySettings, contract: Contract) -> Iterator[Config]:
    """Yield the routes of native gRPC: without a key, streams, batches, then all other calls."""
    longest = longest_call(settings)
    short = {"timeout": "0s", "max_stream_duration": {"max_stream_duration": f"{KEYLESS_STREAM_SECONDS}s"}}
    checked = for_keyless()
    yield _grpc_route({"path": HEALTH_CHECK}, {**longest, "priority": "HIGH", "cluster": KEYLESS}, checked)
    yield _grpc_route({"path": HEALTH_WATCH}, {**short, "cluster": KEYLESS}, checked)
    yield _grpc_route({"prefix": REFLECTION}, {**short, "cluster": KEYLESS}, {})
    for path in contract.streams:
        yield _grpc_route({"path": path}, no_end(), for_stream())
    for path in contract.batches:
        yield _grpc_route({"path": path}, longest, for_grpc_batch())
    yield _grpc_route({"prefix": ADMIN_SERVICES}, longest, for_grpc_admin())
    yield _grpc_route({"prefix": "/"}, longest, for_grpc())
    yield {"match": {"prefix": "/", "grpc": {}}, **direct_response(ONLY_POST)}


def _grpc_route(match: Config, action: Config, filters: Config) -> Config:
    return {
        "match": {**match, "grpc": {}, "headers": [method_of(("POST",))]},
        "route": {"cluster": CLUSTER, "retry_policy": retries(), **action},
        # Required by gRPC and missing from some callers; servers answer calls without it by a reset.
        "request_headers_to_add": [header("te", "trailers")],
        "typed_per_filter_config": filters,
    }


def web_routes(settings: GatewaySettings, contract: Contract) -> Iterator[Config]:
    """Yield the routes of gRPC-Web, for unary calls from programs without HTTP/2.

    There is no CORS: a key must not be used in a browser, where its user can read it.
    """
    action = {"cluster": CLUSTER, "retry_policy": retries(), **longest_call(settings)}
    for match, filters in (
        *(({"path": path}, for_web_batch()) for path in contract.batches),
        ({"prefix": ADMIN_SERVICES}, for_web_admin()),
        ({"prefix": "/"}, for_web()),
    ):
        yield {
            "match": {**match, "headers": [WEB_TYPE, method_of(("POST",))]},
            "route": action,
            "typed_per_filter_config": filters,
        }
    yield {"match": {"prefix": "/", "headers": [WEB_TYPE]}, **direct_response(ONLY_POST)}
