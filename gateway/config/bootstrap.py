"""Builds Envoy's configuration as plain data. `build` is the whole of it."""

from __future__ import annotations

import json
from typing import Any

from ..otlp import Otlp, usable_otlp
from ..settings import GatewaySettings
from . import contract
from .cluster import clusters
from .correlation import copies
from .filters import filters
from .local_replies import local_replies
from .portal import portal_clusters
from .routes import route_config
from .tls import transport_socket
from .tracing import runtime, tracing, tracing_clusters

__all__ = ["build", "render"]

Config = dict[str, Any]

HTTP_MANAGER = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
WINDOW_BYTES = 256 * 1024
"""Larger than the body limit, so that a caller with a slightly larger body has sent it when it reads 413."""
CONNECTION_WINDOW_BYTES = 1024 * 1024
HEAP = "envoy.resource_monitors.fixed_heap"
HEAP_AS_USED = {
    "name": "heap",
    "static_layer": {"envoy.reloadable_features.fixed_heap_use_allocated": True},
}
"""Count only memory in use. By default Envoy also counts what the allocator keeps after a flood."""
TRACKED_FROM = 17
"""Streams that hold 2^17 bytes (128 KiB) or more can be reset. Single calls hold less."""
SCARCE = {"scaling_threshold": 0.75, "saturation_threshold": 0.9}
MAX_HEADER_LIST_SIZE = 0x6
"""RFC 9113, 6.5.2. Envoy resets a stream with larger headers; gRPC clients that know the limit report it."""
STEERING = ("x-envoy-", "x-clarion-")
"""How names of headers begin by which a caller could control Envoy, or pass for another caller."""


def build(settings: GatewaySettings, otlp: Otlp | None = None) -> Config:
    """Return the whole bootstrap configuration for Envoy.

    Args:
        settings: The gateway's settings.
        otlp: Where to send its spans; None for no spans.

    Raises:
        GatewaySettingsError: Servers could not recognise the gateway.
    """
    settings.require_trusted()
    bootstrap: Config = {
        "node": {"id": "clarion", "cluster": "clarion"},  # required for TLS certificates from a file
        "static_resources": {
            "listeners": [_listener(settings, otlp)],
            "clusters": [*clusters(settings), *portal_clusters(settings), *tracing_clusters(otlp)],
        },
        "overload_manager": _overload(settings),
        "layered_runtime": {"layers": [HEAP_AS_USED, *runtime(otlp)]},
    }
    if settings.admin_socket:
        bootstrap["admin"] = {"address": {"pipe": {"path": settings.admin_socket, "mode": 0o600}}}
        # During a hot restart, statistics include those of the old Envoy.
        bootstrap["stats_flush_on_admin"] = True
        bootstrap["layered_runtime"]["layers"].append({"name": "admin", "admin_layer": {}})
    return bootstrap


def render(settings: GatewaySettings) -> str:
    """Return the configuration as JSON text. `clarion gateway print` prints the same.

    The environment says whether and where spans are sent; see `gateway/otlp.py`.
    """
    return json.dumps(build(settings, usable_otlp()), indent=2, ensure_ascii=False) + "\n"


def _listener(settings: GatewaySettings, otlp: Otlp | None) -> Config:
    address = {"address": settings.host, "port_value": settings.port}
    manager = {"name": "http", "typed_config": _http_manager(settings, otlp)}
    tls = {"transport_socket": transport_socket(settings)} if settings.tls_certificate else {}
    # A TLS handshake may take as long as the headers of a request.
    chain = {"filters": [manager], "transport_socket_connect_timeout": f"{settings.header_timeout}s", **tls}
    return {
        "name": "clarion",
        "address": {"socket_address": address},
        # A second gateway on the same port must fail instead of sharing it.
        "enable_reuse_port": False,
        "filter_chains": [chain],
    }


def _http_manager(settings: GatewaySettings, otlp: Otlp | None) -> Config:
    described = contract.load()
    manager = {
        "@type": f"type.googleapis.com/{HTTP_MANAGER}",
        "stat_prefix": "ingress",
        "codec_type": "AUTO",
        "route_config": route_config(settings, described),
        "http_filters": filters(settings, described),
        "local_reply_config": local_replies(settings),
        **_identity(settings),
        **_paths(),
        **_limits(settings),
        **_protocols(settings),
        **tracing(otlp),
    }
    return {**manager, "access_log": [_access_log(otlp)]} if settings.access_log else manager


def _identity(settings: GatewaySettings) -> Config:
    """Return the settings of the request ID, the caller's address and the `server` header."""
    extension = "envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation"
    steering = [{"remove_on_match": {"key_matcher": {"prefix": name}}} for name in STEERING]
    mutation = {"@type": f"type.googleapis.com/{extension}", "mutations": [*steering, *copies()]}
    return {
        "use_remote_address": True,
        "xff_num_trusted_hops": settings.trusted_proxies,
        "generate_request_id": True,
        "always_set_request_id_in_response": True,
        "server_name": "clarion",
        "server_header_transformation": "OVERWRITE",
        "early_header_mutation_extensions": [
            {"name": "envoy.http.early_header_mutation.header_mutation", "typed_config": mutation}
        ],
    }


def _paths() -> Config:
    """Return how paths are normalized, so that routes and servers see the same path."""
    return {
        "normalize_path": True,
        "merge_slashes": True,
        "path_with_escaped_slashes_action": "REJECT_REQUEST",
    }


def _limits(settings: GatewaySettings) -> Config:
    return {
        "max_request_headers_kb": settings.max_header_kib,
        "request_headers_timeout": f"{settings.header_timeout}s",
        "request_timeout": f"{settings.body_timeout}s",
        "stream_idle_timeout": f"{settings.idle_timeout}s",
        "stream_flush_timeout": f"{settings.flush_timeout}s",
        # Between GOAWAY and the end of an HTTP/2 connection. The runner applies `drain_timeout`.
        "drain_timeout": "1s",
        "common_http_protocol_options": {
            "idle_timeout": f"{settings.idle_timeout}s",
            "max_headers_count": settings.max_header_count,
            # Dropped, not rejected: gRPC metadata may contain `_`, and some servers treat `_` and `-` alike.
            "headers_with_underscores_action": "DROP_HEADER",
        },
    }


def _protocols(settings: GatewaySettings) -> Config:
    return {
        # Some proxies and health checks send HTTP/1.0 by default, some of them without a host.
        "http_protocol_options": {"accept_http_10": True, "default_host_for_http_10": "clarion"},
        "http2_protocol_options": {
            "max_concurrent_streams": settings.max_streams,
            "initial_stream_window_size": WINDOW_BYTES,
            "initial_connection_window_size": CONNECTION_WINDOW_BYTES,
            # A malformed request ends its own stream, not the others on the connection.
            "override_stream_error_on_invalid_http_message": True,
            "custom_settings_parameters": [
                {"identifier": MAX_HEADER_LIST_SIZE, "value": settings.max_header_kib * 1024}
            ],
        },
    }


def _access_log(otlp: Otlp | None) -> Config:
    """Return one JSON line per request, without credentials, queries and bodies."""
    kind = "type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog"
    line = {
        "time": "%START_TIME%",
        "method": "%REQ(:METHOD)%",
        "path": "%PATH(NQ:ORIG_OR_PATH)%",
        "status": "%RESPONSE_CODE%",
        "details": "%RESPONSE_CODE_DETAILS%",
        "flags": "%RESPONSE_FLAGS%",
        "duration_ms": "%DURATION%",
        "bytes_received": "%BYTES_RECEIVED%",
        "bytes_sent": "%BYTES_SENT%",
        "protocol": "%PROTOCOL%",
        "request_id": "%REQ(X-REQUEST-ID)%",
        "upstream": "%UPSTREAM_HOST%",
    }
    if otlp:
        line |= {"trace_id": "%TRACE_ID%", "span_id": "%SPAN_ID%"}
    return {
        "name": "envoy.access_loggers.stdout",
        "typed_config": {"@type": kind, "log_format": {"json_format": line}},
    }


def _overload(settings: GatewaySettings) -> Config:
    """Return the limits of open connections and of memory.

    Bodies are buffered before a key is checked, so callers without a key can use memory. As memory becomes
    scarce, Envoy resets the streams that hold most, shortens idle timeouts, and finally rejects requests.
    """
    return {
        "refresh_interval": "0.1s",
        "buffer_factory_config": {"minimum_account_to_track_power_of_two": TRACKED_FROM},
        "resource_monitors": [
            _monitor(
                "global_downstream_max_connections",
                "downstream_connections.v3.DownstreamConnectionsConfig",
                max_active_downstream_connections=settings.max_connections,
            ),
            _monitor(
                "fixed_heap", "fixed_heap.v3.FixedHeapConfig", max_heap_size_bytes=settings.max_heap_bytes
            ),
        ],
        "actions": [
            _action("reduce_timeouts", {"scaled": SCARCE}) | {"typed_config": _short_silence()},
            _action("shrink_heap", {"threshold": {"value": 0.7}}),
            _action("reset_high_memory_stream", {"scaled": SCARCE}),
            _action("stop_accepting_requests", {"threshold": {"value": 0.95}}),
        ],
        # HTTP/1 streams cannot be reset. Envoy closes the connections of a growing share of requests.
        "loadshed_points": [_shed("http1_server_abort_dispatch", {"scaled": SCARCE})],
    }


def _monitor(name: str, kind: str, **limit: int) -> Config:
    package = "type.googleapis.com/envoy.extensions.resource_monitors"
    return {
        "name": f"envoy.resource_monitors.{name}",
        "typed_config": {"@type": f"{package}.{kind}", **limit},
    }


def _action(name: str, when: Config) -> Config:
    """Return an action for scarce memory. Thresholds are fractions of `max_heap_bytes`."""
    return {"name": f"envoy.overload_actions.{name}", "triggers": [{"name": HEAP, **when}]}


def _shed(name: str, when: Config) -> Config:
    """Return a point at which requests are rejected when memory is scarce."""
    return {"name": f"envoy.load_shed_points.{name}", "triggers": [{"name": HEAP, **when}]}


def _short_silence() -> Config:
    """Return the shortest idle timeouts of streams and connections, used when no memory is left."""
    kind = "type.googleapis.com/envoy.config.overload.v3.ScaleTimersOverloadActionConfig"
    timers = ("HTTP_DOWNSTREAM_STREAM_IDLE", "HTTP_DOWNSTREAM_CONNECTION_IDLE")
    return {
        "@type": kind,
        "timer_scale_factors": [{"timer": timer, "min_timeout": "1s"} for timer in timers],
    }
