"""The filter that rejects floods of unknown keys: the calls that keys.lua marks."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

__all__ = ["CAUSE", "FLOODS", "floods"]

FLOODS = "envoy.filters.http.fault"
CAUSE = "fault_filter_abort"
"""Envoy's detail of these rejections."""
MARK = "x-clarion-flood"
DELAY = "1s"


def floods() -> dict[str, Any]:
    """Return the filter that rejects marked calls after a delay.

    A rejection costs Envoy nearly as much as an accepted call, and more if the request is incomplete, because
    Envoy then closes an HTTP/1.1 connection. After the delay most requests are complete, and a caller that
    waits for its responses makes one call per second and connection.
    """
    every = {"numerator": 100, "denominator": "HUNDRED"}
    return {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault",
        "headers": [{"name": MARK, "present_match": True}],
        "delay": {"fixed_delay": DELAY, "percentage": every},
        "abort": {"http_status": int(HTTPStatus.TOO_MANY_REQUESTS), "percentage": every},
    }
