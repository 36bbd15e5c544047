"""The gateway's spans: Envoy's own tracer, and the cluster of the collector that it posts them to.

Envoy continues the trace of a caller that sent `traceparent`, whose sampling flag it honours, and passes the
context on to the servers, whose spans are then part of the same trace. The collector gets no path, no query
and no address of a caller: they can contain whatever the caller wrote.
"""

from __future__ import annotations

from typing import Any

import certifi

from ..otlp import Otlp
from ..settings import is_address
from .tls import name_matcher

__all__ = ["CLUSTER", "runtime", "tracing", "tracing_clusters"]

Config = dict[str, Any]

CLUSTER = "otlp"
SERVICE = "clarion-gateway"
KINDS = "type.googleapis.com/envoy"
HIDDEN = "-"
MILLION = 1_000_000
POSTS_AT_ONCE = 4
"""Posts to a collector that does not answer; further spans are dropped, so that they use no memory."""
TRACE_TAGS = {
    "http.request.method": "%REQ(:METHOD)%",
    "http.response.status_code": "%RESPONSE_CODE%",
    "peer.address": HIDDEN,
    "grpc.path": HIDDEN,
}
"""Attributes: the first two as in https://opentelemetry.io/docs/specs/semconv/http/http-spans/, and what
replaces Envoy's own attributes with the caller's address, and with the path and query of a gRPC call. Envoy
sets `grpc.message` later, so it cannot be replaced."""


def tracing(otlp: Otlp | None) -> Config:
    """Return the setting `tracing` of the HTTP connection manager; nothing if traces are off."""
    if otlp is None:
        return {}
    return {
        "tracing": {
            "client_sampling": {"value": 0},  # a caller decides by `traceparent`, not by a header of Envoy
            "random_sampling": {"value": 100},  # the sampler decides, which honours the caller's decision
            "overall_sampling": {"value": 100},
            "spawn_upstream_span": False,  # the server's span measures the same
            "operation": "%REQ(:METHOD)%",
            "max_path_tag_length": 0,
            "custom_tags": [{"tag": name, "value": value} for name, value in TRACE_TAGS.items()],
            "provider": {"name": "envoy.tracers.opentelemetry", "typed_config": _tracer(otlp)},
        }
    }


def tracing_clusters(otlp: Otlp | None) -> list[Config]:
    """Return the cluster of the collector; none if traces are off."""
    if otlp is None:
        return []
    address = {"socket_address": {"address": otlp.host, "port_value": otlp.port}}
    cluster: Config = {
        "name": CLUSTER,
        "type": "STATIC" if is_address(otlp.host) else "LOGICAL_DNS",
        "dns_lookup_family": "ALL",  # `localhost` is often two addresses, of which one is listened on
        "connect_timeout": "1s",
        "wait_for_warm_on_init": False,  # a name that cannot be resolved must not delay the start
        "circuit_breakers": {
            "thresholds": [
                {
                    "max_connections": POSTS_AT_ONCE,
                    "max_pending_requests": POSTS_AT_ONCE,
                    "max_requests": POSTS_AT_ONCE,
                }
            ]
        },
        "load_assignment": {
            "cluster_name": CLUSTER,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
    }
    return [{**cluster, "transport_socket": _tls(otlp)} if otlp.url.scheme == "https" else cluster]


def runtime(otlp: Otlp | None) -> list[Config]:
    """Return the layer of Envoy's runtime with the size of its posts: by default, each has five spans."""
    if otlp is None:
        return []
    layer = {
        "tracing.opentelemetry.min_flush_spans": otlp.batch,
        "tracing.opentelemetry.flush_interval_ms": round(otlp.delay * 1000),
    }
    return [{"name": "tracing", "static_layer": layer}]


def _tracer(otlp: Otlp) -> Config:
    headers = [{"header": {"key": name, "value": _literal(text)}} for name, text in otlp.headers.items()]
    tracer: Config = {
        "@type": f"{KINDS}.config.trace.v3.OpenTelemetryConfig",
        "service_name": otlp.service_name or SERVICE,
        "max_cache_size": otlp.queue,
        "sampler": _sampler(otlp),
        "http_service": {
            "http_uri": {"uri": otlp.endpoint, "cluster": CLUSTER, "timeout": f"{otlp.timeout:g}s"},
            "request_headers_to_add": headers,
        },
    }
    if otlp.attributes:
        package = "tracers.opentelemetry.resource_detectors"
        kind = f"{KINDS}.extensions.{package}.v3.StaticConfigResourceDetectorConfig"
        detector = {"@type": kind, "attributes": dict(otlp.attributes)}
        tracer["resource_detectors"] = [{"name": f"envoy.{package}.static_config", "typed_config": detector}]
    return tracer


def _sampler(otlp: Otlp) -> Config:
    """Return the sampler: the caller decides, and if there is no caller's context, chance does."""
    package = "tracers.opentelemetry.samplers"
    share = {"numerator": round(otlp.ratio * MILLION), "denominator": "MILLION"}
    kind = f"{KINDS}.extensions.{package}.v3"
    by_chance = {"@type": f"{kind}.TraceIdRatioBasedSamplerConfig", "sampling_percentage": share}
    wrapped = {"name": f"envoy.{package}.trace_id_ratio_based", "typed_config": by_chance}
    by_caller = {"@type": f"{kind}.ParentBasedSamplerConfig", "wrapped_sampler": wrapped}
    return {"name": f"envoy.{package}.parent_based", "typed_config": by_caller}


def _tls(otlp: Otlp) -> Config:
    """Return the TLS settings, with the checks of the collector's certificate that Envoy omits by default."""
    common: Config = {
        "validation_context": {
            "trusted_ca": {"filename": otlp.certificate or certifi.where()},
            "match_typed_subject_alt_names": [name_matcher(otlp.host)],
        }
    }
    if otlp.client_certificate:
        pair = {
            "certificate_chain": {"filename": otlp.client_certificate},
            "private_key": {"filename": otlp.client_key},
        }
        common["tls_certificates"] = [pair]
    name = {} if is_address(otlp.host) else {"sni": otlp.host}
    return {
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": f"{KINDS}.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
            "common_tls_context": common,
            **name,
        },
    }


def _literal(text: str) -> str:
    """Return a text as Envoy's header formatter needs it, in which `%` begins a command."""
    return text.replace("%", "%%")
