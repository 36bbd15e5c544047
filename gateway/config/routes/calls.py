"""What the routes to servers share: retries and time limits."""

from __future__ import annotations

from typing import Any

from ...settings import GatewaySettings

__all__ = ["longest_call", "no_end", "retries"]

Config = dict[str, Any]

STREAM_IDLE_SECONDS = 3600


def no_end() -> Config:
    """Return the timeouts of an endless stream, and a priority whose limits other calls do not use up."""
    return {"timeout": "0s", "idle_timeout": f"{STREAM_IDLE_SECONDS}s", "priority": "HIGH"}


def longest_call(settings: GatewaySettings) -> Config:
    """Return the timeout of a unary call: the caller's deadline, but at most `request_timeout`."""
    longest = f"{settings.request_timeout}s"
    limits = {"grpc_timeout_header_max": longest, "max_stream_duration": longest}
    return {"timeout": "0s", "max_stream_duration": limits}


def retries() -> Config:
    """Return the retries that cannot duplicate a trigger, because no server has received the request."""
    predicate = "envoy.retry_host_predicates.previous_hosts"
    kind = "type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
    return {
        "retry_on": "connect-failure,refused-stream,reset-before-request",
        "num_retries": 2,
        "retry_host_predicate": [{"name": predicate, "typed_config": {"@type": kind}}],
        "host_selection_retry_max_attempts": 3,
    }
