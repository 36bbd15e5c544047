"""The portal: its routes, its cluster, and the page that browsers get while it does not run."""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

from ..settings import GatewaySettings, Upstream
from .cluster import endpoint, limits
from .per_route import for_portal
from .replies import header

__all__ = ["SECURITY", "portal_clusters", "portal_replies", "portal_routes"]

Config = dict[str, Any]

NAME = "portal"
PAGES_AT_ONCE = 64
"""Requests that the gateway forwards to the portal at once; others get the page `DOWN`."""
STREAMS_AT_ONCE = 100
"""The same for live tails and downloads. Their priority HIGH separates their limit from that of pages."""
STREAMS = ("/live", "/export")
"""The portal's live tails and downloads are below these paths (portal/live.py, portal/csv_files.py)."""
PAGE_SECONDS = 30
STREAM_IDLE_SECONDS = 60
"""In a live tail, the portal writes a comment every 15 seconds."""
IDLE_SECONDS = 60
"""Less than the portal keeps an unused connection (portal/run.py)."""
HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
CALLER = "x-clarion-caller"
SECURITY = {
    "content-type": "text/html; charset=utf-8",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
}
DOWN = (
    "The portal is not available",
    "It is starting, overloaded or stopped. Triggers are still accepted and delivered. Try again soon.",
)
MISSING = (
    "No portal is configured",
    "Start it with <code>clarion portal</code>, and set <code>gateway.portal</code> to its address.",
)
TOO_LARGE = ("Form too large", "It has more than 1 MiB. Nothing was changed; go back and send less.")
TOO_SLOW = ("Too slow", "The form arrived too slowly. Nothing was changed; go back and send it again.")


def portal_clusters(settings: GatewaySettings) -> list[Config]:
    """Return the portal's cluster, if there is a portal."""
    if not settings.portal:
        return []
    upstream = Upstream.parse(settings.portal, "portal")
    protocol = {
        "@type": f"type.googleapis.com/{HTTP_OPTIONS}",
        "explicit_http_config": {"http_protocol_options": {}},
        "common_http_protocol_options": {"idle_timeout": f"{IDLE_SECONDS}s"},
    }
    return [
        {
            "name": NAME,
            "type": "STRICT_DNS" if upstream.is_name else "STATIC",
            "connect_timeout": "1s",
            "typed_extension_protocol_options": {HTTP_OPTIONS: protocol},
            "circuit_breakers": limits({"DEFAULT": PAGES_AT_ONCE, "HIGH": STREAMS_AT_ONCE}),
            "load_assignment": {
                "cluster_name": NAME,
                "endpoints": [{"lb_endpoints": [endpoint(upstream)]}],
            },
        }
    ]


def portal_routes(settings: GatewaySettings) -> Iterator[Config]:
    """Yield the routes to the portal: streams, then all other pages."""
    path = settings.portal_path
    if not settings.portal:
        yield {"match": {"path_separated_prefix": path}, **_direct(HTTPStatus.SERVICE_UNAVAILABLE, MISSING)}
        return
    stream = {"timeout": "0s", "idle_timeout": f"{STREAM_IDLE_SECONDS}s", "priority": "HIGH"}
    for below in STREAMS:
        yield _route(f"{path}{below}", stream)
    yield _route(path, {"timeout": f"{PAGE_SECONDS}s"})


def portal_replies(settings: GatewaySettings) -> Iterator[tuple[str, HTTPStatus, str]]:
    """Yield condition, status and page of the gateway's own replies to browsers.

    The conditions are in the Common Expression Language.
    """
    if not settings.portal:
        return
    path = settings.portal_path
    here = f"(request.url_path == '{path}' || request.url_path.startsWith('{path}/'))"
    for status, text in (
        (HTTPStatus.REQUEST_ENTITY_TOO_LARGE, TOO_LARGE),
        (HTTPStatus.REQUEST_TIMEOUT, TOO_SLOW),
    ):
        yield f"response.code == {int(status)} && {here}", status, page(*text)
    yield f"response.code >= 500 && {here}", HTTPStatus.SERVICE_UNAVAILABLE, page(*DOWN)


def page(title: str, text: str) -> str:
    """Return an HTML page that needs nothing from the portal."""
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title} | Clarion</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark"></head>'
        f'<body><main><h1>{title}</h1><p>{text}</p><p><a href="">Try again</a></p></main></body></html>'
    )


def _route(path: str, action: Config) -> Config:
    address = header(CALLER, "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%")
    retries = {"retry_on": "connect-failure,refused-stream,reset-before-request", "num_retries": 2}
    return {
        "match": {"path_separated_prefix": path},
        "route": {"cluster": NAME, "retry_policy": retries, **action},
        "request_headers_to_add": [address],
        "typed_per_filter_config": for_portal(),
    }


def _direct(status: HTTPStatus, text: tuple[str, str]) -> Config:
    return {
        "direct_response": {"status": int(status), "body": {"inline_string": page(*text)}},
        "response_headers_to_add": [header(*one) for one in SECURITY.items()],
    }
