"""The clusters: the servers' addresses, health checks and limits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..settings import GatewaySettings, Upstream

__all__ = ["KEYLESS", "NAME", "READY", "clusters", "endpoint", "limits"]

Config = dict[str, Any]

NAME = "server"
KEYLESS = "keyless"
"""The same servers, for calls without a key: they have their own connections and limits."""
READY = "ready"
"""The same servers, checked for readiness. This cluster gets no calls: a server without its database still
answers them in the other one, with an error that is more specific than "no server"."""
READY_SERVICE = "clarion.v1.TriggerService"
HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
HIGH_AT_ONCE = 1000
"""Calls of high priority, which are event streams: a flood of other calls must not block them."""
KEYLESS_STREAMS = 50
"""Health watches and reflection at once."""
KEYLESS_CALLS = 200
"""Health checks at once."""
RETRIES_AT_ONCE = 1000


def clusters(settings: GatewaySettings) -> list[Config]:
    """Return the clusters for calls with a key, for calls without one, and for readiness."""
    ordinary = {"DEFAULT": settings.max_concurrent, "HIGH": HIGH_AT_ONCE}
    keyless = {"DEFAULT": KEYLESS_STREAMS, "HIGH": KEYLESS_CALLS}
    return [
        {**_cluster(settings, NAME, service=""), "circuit_breakers": limits(ordinary)},
        {**_cluster(settings, KEYLESS, service=""), "circuit_breakers": limits(keyless)},
        _cluster(settings, READY, service=READY_SERVICE),
    ]


def _cluster(settings: GatewaySettings, name: str, service: str) -> Config:
    """Return a cluster of all server processes, reached over HTTP/2."""
    upstreams = settings.parsed_upstreams
    named = any(upstream.is_name for upstream in upstreams)
    return {
        "name": name,
        "type": "STRICT_DNS" if named else "STATIC",
        "connect_timeout": "1s",
        "lb_policy": "LEAST_REQUEST",
        # Without a healthy server, reject immediately instead of trying an unhealthy one. Apply changes of
        # health immediately: by default they can wait for a second.
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}, "update_merge_window": "0s"},
        "typed_extension_protocol_options": {HTTP_OPTIONS: _http2()},
        "health_checks": [_health_check(service, several=len(settings.upstreams) > 1)],
        "outlier_detection": _outlier_detection(),
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [endpoint(upstream) for upstream in upstreams]}],
        },
    }


def _http2() -> Config:
    return {
        "@type": f"type.googleapis.com/{HTTP_OPTIONS}",
        "explicit_http_config": {
            "http2_protocol_options": {"connection_keepalive": {"interval": "30s", "timeout": "10s"}}
        },
    }


def _health_check(service: str, *, several: bool) -> Config:
    """Return the health check: one NOT_SERVING, or no answer in time, ends traffic.

    If there are several servers, one that hangs gets no calls any more after 1.5 seconds: the interval and
    the time for an answer. A single server has more time, because its calls could only be rejected: a busy
    machine must not cause that.
    """
    return {
        "timeout": "1s" if several else "3s",
        "interval": "0.5s",
        "no_traffic_interval": "0.5s",
        "healthy_threshold": 1,
        "unhealthy_threshold": 1,
        "grpc_health_check": {"service_name": service} if service else {},
    }


def _outlier_detection() -> Config:
    """Return what ends traffic to a server whose calls time out or break although its health check passes.

    Errors that the server answers do not count: without a database, all servers answer 503. Nor can more than
    half of the servers be left out, because what they share may be the cause.
    """
    return {
        "split_external_local_origin_errors": True,
        "consecutive_local_origin_failure": 5,
        "enforcing_consecutive_5xx": 0,
        "enforcing_consecutive_gateway_failure": 0,
        "enforcing_success_rate": 0,
        "enforcing_local_origin_success_rate": 0,
        "interval": "0.5s",
        "base_ejection_time": "1s",
        "max_ejection_time": "10s",
        "max_ejection_percent": 50,
        "successful_active_health_check_uneject_host": False,
    }


def limits(at_once: Mapping[str, int]) -> Config:
    """Return how many calls of each priority may be in progress; one more is rejected immediately."""
    return {"thresholds": [_threshold(priority, most) for priority, most in at_once.items()]}


def _threshold(priority: str, at_once: int) -> Config:
    return {
        "priority": priority,
        "max_requests": at_once,
        # Requests that wait for a connection. All of them would be sent once it is established.
        "max_pending_requests": at_once,
        "max_retries": RETRIES_AT_ONCE,
    }


def endpoint(upstream: Upstream) -> Config:
    """Return an endpoint of a cluster."""
    return {"endpoint": {"address": _address(upstream)}}


def _address(upstream: Upstream) -> Config:
    if upstream.path is not None:
        return {"pipe": {"path": str(upstream.path)}}
    return {"socket_address": {"address": upstream.host, "port_value": upstream.port}}
