"""The servers as Envoy sees them: addresses, health checks, limits."""

from __future__ import annotations

from typing import Any

from .options import GatewayOptions, Upstream

__all__ = ["NAME", "cluster"]

Config = dict[str, Any]

NAME = "server"
HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
AT_ONCE = 10_000
"""Calls and waiting calls; above it the server's own limits have long answered."""


def cluster(options: GatewayOptions) -> Config:
    """Return the cluster of all server processes, spoken to in HTTP/2."""
    upstreams = options.parsed_upstreams
    named = any(upstream.is_name for upstream in upstreams)
    return {
        "name": NAME,
        "type": "STRICT_DNS" if named else "STATIC",
        "connect_timeout": "1s",
        "lb_policy": "LEAST_REQUEST",
        # With no healthy server an answer at once is better than a try at a sick one.
        # A change of health reaches the workers at once: by default it can wait for a second.
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}, "update_merge_window": "0s"},
        "typed_extension_protocol_options": {HTTP_OPTIONS: _http2()},
        "health_checks": [_health_check()],
        "circuit_breakers": {"thresholds": [_generous()]},
        "load_assignment": {
            "cluster_name": NAME,
            "endpoints": [{"lb_endpoints": [_endpoint(upstream) for upstream in upstreams]}],
        },
    }


def _http2() -> Config:
    return {
        "@type": f"type.googleapis.com/{HTTP_OPTIONS}",
        "explicit_http_config": {
            "http2_protocol_options": {"connection_keepalive": {"interval": "30s", "timeout": "10s"}}
        },
    }


def _health_check() -> Config:
    """Return the check, made every second: one NOT_SERVING ends traffic, a slow answer has 3 seconds."""
    return {
        "timeout": "3s",
        "interval": "1s",
        "no_traffic_interval": "1s",
        "healthy_threshold": 1,
        "unhealthy_threshold": 1,
        "grpc_health_check": {},
    }


def _generous() -> Config:
    return {
        "max_connections": 1024,
        "max_pending_requests": AT_ONCE,
        "max_requests": AT_ONCE,
        "max_retries": 1000,
    }


def _endpoint(upstream: Upstream) -> Config:
    return {"endpoint": {"address": _address(upstream)}}


def _address(upstream: Upstream) -> Config:
    if upstream.path is not None:
        return {"pipe": {"path": str(upstream.path)}}
    return {"socket_address": {"address": upstream.host, "port_value": upstream.port}}
