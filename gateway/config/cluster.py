"""The servers as Envoy sees them: addresses, health checks, limits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..settings import GatewaySettings, Upstream

__all__ = ["KEYLESS", "NAME", "READY", "clusters"]

Config = dict[str, Any]

NAME = "server"
KEYLESS = "keyless"
"""The same servers, for calls without a key: they have their own connections and limits."""
READY = "ready"
"""The same servers, checked for readiness. It takes no calls: a server that cannot reach its database answers
with the reason, which tells callers more than "no server"."""
READY_SERVICE = "clarion.v1.TriggerService"
HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
HIGH_AT_ONCE = 1000
"""Health checks and streams without an end: few, and not to be refused because calls are many."""
KEYLESS_STREAMS = 50
"""Health watches and reflection at once."""
KEYLESS_CALLS = 200
"""Health checks at once."""
RETRIES_AT_ONCE = 1000


def clusters(settings: GatewaySettings) -> list[Config]:
    """Return the cluster that takes calls, and the one that only tells whether it should."""
    ordinary = {"DEFAULT": settings.max_concurrent, "HIGH": HIGH_AT_ONCE}
    keyless = {"DEFAULT": KEYLESS_STREAMS, "HIGH": KEYLESS_CALLS}
    return [
        {**_cluster(settings, NAME, service=""), "circuit_breakers": _limits(ordinary)},
        {**_cluster(settings, KEYLESS, service=""), "circuit_breakers": _limits(keyless)},
        _cluster(settings, READY, service=READY_SERVICE),
    ]


def _cluster(settings: GatewaySettings, name: str, service: str) -> Config:
    """Return a cluster of all server processes, spoken to in HTTP/2."""
    upstreams = settings.parsed_upstreams
    named = any(upstream.is_name for upstream in upstreams)
    return {
        "name": name,
        "type": "STRICT_DNS" if named else "STATIC",
        "connect_timeout": "1s",
        "lb_policy": "LEAST_REQUEST",
        # With no healthy server an answer at once is better than a try at a sick one.
        # A change of health reaches the workers at once: by default it can wait for a second.
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}, "update_merge_window": "0s"},
        "typed_extension_protocol_options": {HTTP_OPTIONS: _http2()},
        "health_checks": [_health_check(service)],
        "load_assignment": {
            "cluster_name": name,
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


def _health_check(service: str) -> Config:
    """Return the check, made every second: one NOT_SERVING ends traffic, a slow answer has 3 seconds."""
    return {
        "timeout": "3s",
        "interval": "1s",
        "no_traffic_interval": "1s",
        "healthy_threshold": 1,
        "unhealthy_threshold": 1,
        "grpc_health_check": {"service_name": service} if service else {},
    }


def _limits(at_once: Mapping[str, int]) -> Config:
    """Return how many calls of each priority may be in progress; one more is rejected immediately."""
    return {"thresholds": [_threshold(priority, most) for priority, most in at_once.items()]}


def _threshold(priority: str, at_once: int) -> Config:
    return {
        "priority": priority,
        "max_requests": at_once,
        # Those that wait for a connection, and would all be let through once it stands.
        "max_pending_requests": at_once,
        "max_retries": RETRIES_AT_ONCE,
    }


def _endpoint(upstream: Upstream) -> Config:
    return {"endpoint": {"address": _address(upstream)}}


def _address(upstream: Upstream) -> Config:
    if upstream.path is not None:
        return {"pipe": {"path": str(upstream.path)}}
    return {"socket_address": {"address": upstream.host, "port_value": upstream.port}}
