"""The clusters: the servers' addresses, health checks and limits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..settings import GatewaySettings, Upstream
from .tls import upstream_socket

__all__ = ["KEYLESS", "NAME", "PATIENT", "READY", "ROUTED", "clusters", "endpoint", "limits"]

Config = dict[str, Any]

ROUTED = "servers"
"""Calls with a key: to the cluster NAME if it has a healthy server, otherwise to PATIENT."""
NAME = "server"
"""The servers, of which one that hangs gets no calls any more after 1.5 seconds."""
PATIENT = "patient"
"""The same servers, with more time to answer health checks. If all are late, the machine is busy: calls take
longer then, but rejecting them would help no one."""
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
INTERVAL_SECONDS = 0.5
"""Between two health checks."""
PROMPT_SECONDS = 1.0
PATIENT_SECONDS = 5.0
"""Time for the answer to a health check. A server that answers none for so long hangs: its calls would fail,
too, and after a rejected one callers know that nothing was accepted."""
OVERPROVISIONING = 100_000
"""Percent: one healthy server of a thousand is enough."""
AGGREGATE = "envoy.clusters.aggregate"


def clusters(settings: GatewaySettings) -> list[Config]:
    """Return the clusters for calls with a key, for calls without one, and for readiness."""
    ordinary = {"DEFAULT": settings.max_concurrent, "HIGH": HIGH_AT_ONCE}
    keyless = {"DEFAULT": KEYLESS_STREAMS, "HIGH": KEYLESS_CALLS}
    return [
        {**_routed(), "circuit_breakers": limits(ordinary)},
        {**_cluster(settings, NAME, _health_check(PROMPT_SECONDS)), "circuit_breakers": limits(ordinary)},
        {**_cluster(settings, PATIENT, _health_check(PATIENT_SECONDS)), "circuit_breakers": limits(ordinary)},
        {**_cluster(settings, KEYLESS, _health_check(PATIENT_SECONDS)), "circuit_breakers": limits(keyless)},
        _cluster(settings, READY, _health_check(PATIENT_SECONDS, READY_SERVICE)),
    ]


def _routed() -> Config:
    """Return the cluster that uses the first of two with a healthy server."""
    return {
        "name": ROUTED,
        "lb_policy": "CLUSTER_PROVIDED",
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
        "cluster_type": {
            "name": AGGREGATE,
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.clusters.aggregate.v3.ClusterConfig",
                "clusters": [NAME, PATIENT],
            },
        },
    }


def _cluster(settings: GatewaySettings, name: str, health_check: Config) -> Config:
    """Return a cluster of all server processes, reached over HTTP/2."""
    upstreams = settings.parsed_upstreams
    named = any(upstream.is_name for upstream in upstreams)
    tls = {"transport_socket": upstream_socket(settings)} if settings.calls_servers_by_tls else {}
    return {
        **tls,
        "name": name,
        "type": "STRICT_DNS" if named else "STATIC",
        "connect_timeout": "1s",
        "lb_policy": "LEAST_REQUEST",
        # Without a healthy server, reject immediately instead of trying an unhealthy one. Apply changes of
        # health immediately: by default they can wait for a second.
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}, "update_merge_window": "0s"},
        "typed_extension_protocol_options": {HTTP_OPTIONS: _http2()},
        "health_checks": [health_check],
        "outlier_detection": _outlier_detection(),
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [endpoint(upstream) for upstream in upstreams]}],
            # One healthy server gets all calls: by default, too few pass some on to the next cluster.
            "policy": {"overprovisioning_factor": OVERPROVISIONING},
        },
    }


def _http2() -> Config:
    return {
        "@type": f"type.googleapis.com/{HTTP_OPTIONS}",
        "explicit_http_config": {
            "http2_protocol_options": {"connection_keepalive": {"interval": "30s", "timeout": "10s"}}
        },
    }


def _health_check(timeout: float, service: str = "") -> Config:
    """Return the health check: one NOT_SERVING, or no answer in time, ends traffic.

    Args:
        timeout: Seconds for the answer.
        service: The service that must be serving; by default, the server as a whole.
    """
    return {
        "timeout": f"{timeout:g}s",
        "interval": f"{INTERVAL_SECONDS:g}s",
        "no_traffic_interval": f"{INTERVAL_SECONDS:g}s",
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
