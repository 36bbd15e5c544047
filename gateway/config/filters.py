"""The HTTP filters. Most are disabled, and each kind of route enables what it needs: see per_route.py."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from ..settings import GatewaySettings
from .cluster import PATIENT, READY
from .contract import Contract, gateway_descriptor_path
from .correlation import COPY, correlation
from .floods import FLOODS, floods
from .replies import BLOCK
from .words import tables

__all__ = [
    "ADMISSION",
    "BUFFER",
    "COLONS",
    "DOCUMENTS",
    "EXTENSIONS",
    "HEADS",
    "HEALTH",
    "HEALTH_PATH",
    "KEYS",
    "LUA",
    "MESSAGES",
    "NAMES",
    "QUERIES",
    "READY_PATH",
    "TRANSCODER",
    "WEB",
    "WORDS",
    "filters",
]

Config = dict[str, Any]

EXTENSIONS = "type.googleapis.com/envoy.extensions.filters.http"
LUA = "envoy.filters.http.lua"
KEYS = "clarion.keys"
MESSAGES = "clarion.messages"
HEADS = "clarion.heads"
COLONS = "clarion.colons"
QUERIES = "clarion.queries"
WORDS = "clarion.words"
DOCUMENTS = "envoy.filters.http.local_ratelimit"
HEALTH = "envoy.filters.http.health_check"
BUFFER = "envoy.filters.http.buffer"
NAMES = "envoy.filters.http.header_mutation"
WEB = "envoy.filters.http.grpc_web"
ADMISSION = "envoy.filters.http.adaptive_concurrency"
TRANSCODER = "envoy.filters.http.grpc_json_transcoder"
ROUTER = "envoy.filters.http.router"

HEALTH_PATH = "/healthz"
READY_PATH = "/readyz"
NO_NAME_OF_GRPC = r"[^:]*[^:a-z0-9_.-].*"
"""Header names that are valid in HTTP but not in gRPC. Names with a colon are pseudo-headers of HTTP/2."""
BASE64_TO_GRPC = "-bin"
"""The end of names of headers that are base64 in gRPC. Servers read none; grpcio rejects malformed ones."""
SOME_PERCENT = 1
"""One healthy server of up to a hundred. Envoy rounds fractions down to 0."""
DOCUMENTS_AT_ONCE = 50
DOCUMENTS_PER_SECOND = 20
"""A document has less than 128 KiB, and a caller who does not read is cut off after `flush_timeout`."""
MAX_ANSWER_BYTES = 16 * 1024 * 1024
"""Larger than the response to a batch in which every item is invalid: 4 MiB as gRPC, and more as JSON."""


def filters(settings: GatewaySettings, contract: Contract) -> list[Config]:
    """Return the filter chain. Requests pass it in this order, responses in reverse order."""
    return [
        *correlation(),
        {"name": KEYS, "disabled": True, "typed_config": _keys(settings)},
        {"name": FLOODS, "disabled": True, "typed_config": floods()},
        {"name": HEADS, "disabled": True, "typed_config": _lua("heads.lua")},
        {"name": COLONS, "disabled": True, "typed_config": _lua("colons.lua")},
        {"name": QUERIES, "disabled": True, "typed_config": _lua("queries.lua")},
        {"name": WORDS, "disabled": True, "typed_config": _lua("words.lua", tables(contract))},
        {"name": LUA, "disabled": True, "typed_config": _lua("answers.lua")},
        {"name": DOCUMENTS, "disabled": True, "typed_config": _documents()},
        {"name": NAMES, "typed_config": _names()},
        {"name": HEALTH, "disabled": True, "typed_config": _health()},
        {"name": WEB, "disabled": True, "typed_config": {"@type": f"{EXTENSIONS}.grpc_web.v3.GrpcWeb"}},
        {"name": BUFFER, "disabled": True, "typed_config": _buffer(settings)},
        {"name": MESSAGES, "disabled": True, "typed_config": _lua("messages.lua")},
        {"name": ADMISSION, "disabled": True, "typed_config": _admission(settings)},
        {"name": TRANSCODER, "disabled": True, "typed_config": _transcoder(contract)},
        {"name": ROUTER, "typed_config": _router()},
    ]


def _keys(settings: GatewaySettings) -> Config:
    """Return the filter that finds floods of unknown keys."""
    longest = math.ceil(settings.body_timeout + settings.request_timeout)
    names = "MAX_FAILED_KEYS, BLOCK_SECONDS, LONGEST_SECONDS"
    constants = f"local {names} = {settings.max_failed_keys}, {BLOCK}, {longest}\n"
    constants += f"local CERTIFICATES = {str(bool(settings.tls_client_ca)).lower()}\n"
    return _lua("keys.lua", constants)


def _lua(name: str, constants: str = "") -> Config:
    """Return a filter that runs a script of this folder."""
    source = constants + Path(__file__).with_name(name).read_text()
    return {
        "@type": f"{EXTENSIONS}.lua.v3.Lua",
        "default_source_code": {"inline_string": source},
    }


def _documents() -> Config:
    """Return the filter that bounds how often documents are served, and so the memory of unread ones."""
    every = {"numerator": 100, "denominator": "HUNDRED"}
    return {
        "@type": f"{EXTENSIONS}.local_ratelimit.v3.LocalRateLimit",
        "stat_prefix": "documents",
        "token_bucket": {
            "max_tokens": DOCUMENTS_AT_ONCE,
            "tokens_per_fill": DOCUMENTS_PER_SECOND,
            "fill_interval": "1s",
        },
        "status": {"code": "ServiceUnavailable"},
        "filter_enabled": {"default_value": every},
        "filter_enforced": {"default_value": every},
    }


def _names() -> Config:
    """Return the filter that drops headers that gRPC or grpcio rejects, and the copy of the request ID."""
    matchers = ({"safe_regex": {"regex": NO_NAME_OF_GRPC}}, {"suffix": BASE64_TO_GRPC})
    dropped = [{"remove_on_match": {"key_matcher": matcher}} for matcher in matchers]
    return {
        "@type": f"{EXTENSIONS}.header_mutation.v3.HeaderMutation",
        "mutations": {"request_mutations": [*dropped, {"remove": COPY}]},
    }


def _health() -> Config:
    """Return the filter that answers /readyz: 200 while a server accepts calls and is ready."""
    some = {"value": SOME_PERCENT}
    return {
        "@type": f"{EXTENSIONS}.health_check.v3.HealthCheck",
        "pass_through_mode": False,
        "cluster_min_healthy_percentages": {PATIENT: some, READY: some},
    }


def _buffer(settings: GatewaySettings) -> Config:
    """Return the filter that buffers requests and rejects bodies above the limit, chunked ones included."""
    return {"@type": f"{EXTENSIONS}.buffer.v3.Buffer", "max_request_bytes": settings.max_body_bytes}


def _admission(settings: GatewaySettings) -> Config:
    """Return the filter that admits fewer concurrent calls while calls take too long.

    It comes after the buffer, so that it measures the servers and not slow callers. It uses the median, which
    a few slow reads do not change. The target is fixed: Envoy would reject calls to measure one.
    """
    return {
        "@type": f"{EXTENSIONS}.adaptive_concurrency.v3.AdaptiveConcurrency",
        "gradient_controller_config": {
            "sample_aggregate_percentile": {"value": 50},
            "concurrency_limit_params": {
                "max_concurrency_limit": settings.max_concurrent,
                "concurrency_update_interval": "0.05s",
            },
            "min_rtt_calc_params": {
                "fixed_value": f"{settings.latency_target}s",
                # Also the initial limit; see `admin.set_min_concurrency`.
                "min_concurrency": settings.max_concurrent,
                "buffer": {"value": 25},
            },
        },
    }


def _transcoder(contract: Contract) -> Config:
    """Return the filter that transcodes REST to gRPC.

    It reads the descriptors from a file, which keeps the printed configuration readable.
    """
    return {
        "@type": f"{EXTENSIONS}.grpc_json_transcoder.v3.GrpcJsonTranscoder",
        "proto_descriptor": str(gateway_descriptor_path()),
        "services": list(contract.services),
        "match_incoming_request_route": True,
        "convert_grpc_status": True,
        "request_validation_options": {"reject_unknown_method": True},
        "print_options": {"preserve_proto_field_names": True},
        "max_response_body_size": MAX_ANSWER_BYTES,
    }


def _router() -> Config:
    """Return the filter that calls the servers, without Envoy's own response headers."""
    return {"@type": f"{EXTENSIONS}.router.v3.Router", "suppress_envoy_headers": True}
