"""The HTTP filters, and which of them each kind of route enables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..settings import GatewaySettings
from .cluster import NAME as CLUSTER
from .cluster import READY
from .contract import Contract, gateway_descriptor_path
from .correlation import COPY, correlation
from .floods import FLOODS, floods
from .replies import BLOCK
from .words import tables

__all__ = [
    "HEALTH_PATH",
    "READY_PATH",
    "filters",
    "for_batch",
    "for_colon",
    "for_document",
    "for_events",
    "for_grpc",
    "for_grpc_batch",
    "for_head",
    "for_keyless",
    "for_portal",
    "for_readiness",
    "for_reading",
    "for_rest",
    "for_stream",
    "for_web",
    "for_web_batch",
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

ON = {"@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", "config": {}}
HEALTH_PATH = "/healthz"
READY_PATH = "/readyz"
NO_NAME_OF_GRPC = r"[^:]*[^:a-z0-9_.-].*"
"""Header names that are valid in HTTP but not in gRPC. Names with a colon are pseudo-headers of HTTP/2."""
BASE64_TO_GRPC = ".*-bin"
"""Headers that must be base64 in gRPC. Servers read none of them, but grpcio rejects malformed ones."""
SOME_PERCENT = 1
"""One healthy server of up to a hundred. Envoy rounds fractions down to 0."""
MAX_GRPC_BYTES = 512 * 1024
"""Twice what the servers accept, so that most callers who send too much get the servers' answer."""
MAX_GRPC_BATCH_BYTES = 4 * 1024 * 1024 + 2048
"""The same for batches."""
MAX_KEYLESS_BYTES = 4096
MAX_PORTAL_BYTES = 1024 * 1024
"""Of a form (portal/security.py). A form that arrives slowly waits here and not in the portal."""
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


def for_rest() -> Config:
    """Return the `typed_per_filter_config` that enables the REST filters."""
    return dict.fromkeys((KEYS, FLOODS, LUA, BUFFER, ADMISSION, TRANSCODER), ON)


def for_reading() -> Config:
    """Return the `typed_per_filter_config` of calls without a body, whose responses have words."""
    return {**for_rest(), QUERIES: ON, WORDS: ON}


def for_batch(settings: GatewaySettings) -> Config:
    """Return the `typed_per_filter_config` of batches by REST.

    Batches have their own size limit. The adaptive limit does not count them, because a batch takes longer
    than `latency_target` even on an idle server.
    """
    found = for_rest()
    del found[ADMISSION]
    found[BUFFER] = _buffer_of(settings.max_batch_bytes)
    return found


def for_events() -> Config:
    """Return the same for event streams, without the adaptive limit: their duration does not measure load."""
    found = {**for_rest(), QUERIES: ON}
    del found[ADMISSION]
    of_grpc = {"key_matcher": {"prefix": "grpc-"}}
    found[NAMES] = {
        "@type": f"{EXTENSIONS}.header_mutation.v3.HeaderMutationPerRoute",
        "mutations": {"response_trailers_mutations": [{"remove_on_match": of_grpc}]},
    }
    return found


def for_head() -> Config:
    """Return the `typed_per_filter_config` that is added to convert HEAD to GET."""
    return {HEADS: ON}


def for_colon() -> Config:
    """Return the `typed_per_filter_config` that is added to convert `%3A` in the path to a colon."""
    return {COLONS: ON}


def for_grpc() -> Config:
    """Return the `typed_per_filter_config` of native unary gRPC."""
    return {**for_stream(), ADMISSION: ON}


def for_grpc_batch() -> Config:
    """Return the `typed_per_filter_config` of batches by native gRPC."""
    return {**for_stream(), BUFFER: _buffer_of(MAX_GRPC_BATCH_BYTES)}


def for_stream() -> Config:
    """Return the `typed_per_filter_config` of native gRPC whose answers are streams."""
    return {KEYS: ON, FLOODS: ON, BUFFER: _buffer_of(MAX_GRPC_BYTES), MESSAGES: ON}


def for_keyless() -> Config:
    """Return the `typed_per_filter_config` of native gRPC that needs no key."""
    return {BUFFER: _buffer_of(MAX_KEYLESS_BYTES), MESSAGES: ON}


def for_portal() -> Config:
    """Return the `typed_per_filter_config` of the portal's pages."""
    return {BUFFER: _buffer_of(MAX_PORTAL_BYTES)}


def for_document() -> Config:
    """Return the `typed_per_filter_config` of documents."""
    return {DOCUMENTS: ON}


def for_readiness() -> Config:
    """Return the `typed_per_filter_config` of /readyz."""
    return dict.fromkeys((LUA, HEALTH), ON)


def for_web() -> Config:
    """Return the `typed_per_filter_config` of gRPC-Web."""
    return {WEB: ON, **for_grpc()}


def for_web_batch() -> Config:
    """Return the `typed_per_filter_config` of batches by gRPC-Web."""
    return {WEB: ON, **for_grpc_batch()}


def _keys(settings: GatewaySettings) -> Config:
    """Return the filter that finds floods of unknown keys."""
    constants = f"local MAX_FAILED_KEYS, BLOCK_SECONDS = {settings.max_failed_keys}, {BLOCK}\n"
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


def _buffer_of(size: int) -> Config:
    config = {"@type": f"{EXTENSIONS}.buffer.v3.BufferPerRoute", "buffer": {"max_request_bytes": size}}
    return {"@type": ON["@type"], "config": config}


def _names() -> Config:
    """Return the filter that drops headers that gRPC or grpcio rejects, and the copy of the request ID."""
    matchers = ({"safe_regex": {"regex": name}} for name in (NO_NAME_OF_GRPC, BASE64_TO_GRPC))
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
        "cluster_min_healthy_percentages": {CLUSTER: some, READY: some},
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
