"""Which HTTP filters each kind of route enables, and the size of its requests."""

from __future__ import annotations

from typing import Any

from ..settings import GatewaySettings
from .contract import RestPath
from .filters import (
    ADMISSION,
    BUFFER,
    COLONS,
    DOCUMENTS,
    EXTENSIONS,
    HEADS,
    HEALTH,
    KEYS,
    LUA,
    MESSAGES,
    NAMES,
    QUERIES,
    TRANSCODER,
    WEB,
    WORDS,
)
from .floods import FLOODS

__all__ = [
    "MAX_ADMIN_BYTES",
    "for_colon",
    "for_document",
    "for_grpc",
    "for_grpc_admin",
    "for_grpc_batch",
    "for_head",
    "for_keyless",
    "for_portal",
    "for_readiness",
    "for_rest_path",
    "for_stream",
    "for_web",
    "for_web_admin",
    "for_web_batch",
    "max_bytes",
]

Config = dict[str, Any]

ON = {"@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", "config": {}}
OF_GRPC_AND_ENVOY = ("grpc-", "x-envoy-")
"""Prefixes of the response headers that are removed for callers of REST."""
MAX_GRPC_BYTES = 512 * 1024
"""Twice what the servers accept, so that most callers who send too much get the servers' answer."""
MAX_GRPC_BATCH_BYTES = 4 * 1024 * 1024 + 2048
"""The same for batches."""
MAX_KEYLESS_BYTES = 4096
MAX_PORTAL_BYTES = 1024 * 1024
"""Of a form (portal/security.py). A form that arrives slowly waits here and not in the portal."""
MAX_ADMIN_BYTES = 1024 * 1024
"""Of a request of the admin API: a locale of a campaign may have a text and an HTML of 256 Ki characters."""


def max_bytes(settings: GatewaySettings, path: RestPath) -> int:
    """Return the size of the largest body of a path."""
    if path.is_admin:
        return MAX_ADMIN_BYTES
    return settings.max_batch_bytes if path.is_batch else settings.max_body_bytes


def for_rest_path(settings: GatewaySettings, path: RestPath) -> Config:
    """Return the `typed_per_filter_config` of a path of REST."""
    if path.streams:
        return for_events()
    if path.is_admin:
        return for_admin()
    if path.is_batch:
        return for_batch(settings)
    return for_rest() if path.body_methods else for_reading()


def for_rest() -> Config:
    """Return the `typed_per_filter_config` that enables the REST filters."""
    return {**dict.fromkeys((KEYS, FLOODS, LUA, BUFFER, ADMISSION, TRANSCODER), ON), NAMES: _plain_answers()}


def for_reading() -> Config:
    """Return the `typed_per_filter_config` of calls without a body; words.lua rewrites their responses."""
    return {**for_rest(), QUERIES: ON, WORDS: ON}


def for_admin() -> Config:
    """Return the same for the admin API, with larger bodies: campaigns have their templates in them.

    The adaptive limit does not count them: one operator's long lists would lower it for triggers and for
    other operators. The servers limit the calls of each operator.
    """
    found = {**for_reading(), BUFFER: _buffer_of(MAX_ADMIN_BYTES)}
    del found[ADMISSION]
    return found


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


def for_grpc_admin() -> Config:
    """Return the `typed_per_filter_config` of the admin API by native gRPC; see `for_admin`."""
    return {**for_stream(), BUFFER: _buffer_of(2 * MAX_ADMIN_BYTES)}


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
    return {HEALTH: ON, NAMES: _plain_answers()}


def for_web() -> Config:
    """Return the `typed_per_filter_config` of gRPC-Web."""
    return {WEB: ON, **for_grpc()}


def for_web_admin() -> Config:
    """Return the `typed_per_filter_config` of the admin API by gRPC-Web."""
    return {WEB: ON, **for_grpc_admin()}


def for_web_batch() -> Config:
    """Return the `typed_per_filter_config` of batches by gRPC-Web."""
    return {WEB: ON, **for_grpc_batch()}


def _plain_answers() -> Config:
    """Return what removes the headers and trailers of gRPC and Envoy from answers."""
    removed = [{"remove_on_match": {"key_matcher": {"prefix": name}}} for name in OF_GRPC_AND_ENVOY]
    return {
        "@type": f"{EXTENSIONS}.header_mutation.v3.HeaderMutationPerRoute",
        "mutations": {"response_mutations": removed, "response_trailers_mutations": removed},
    }


def _buffer_of(size: int) -> Config:
    config = {"@type": f"{EXTENSIONS}.buffer.v3.BufferPerRoute", "buffer": {"max_request_bytes": size}}
    return {"@type": ON["@type"], "config": config}
