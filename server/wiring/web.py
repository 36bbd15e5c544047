"""Runs the portal and the gateway with metrics."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import gateway
from portal import PortalSettings

from ..metrics import counter, gauge, histogram
from ..process.metrics_server import metrics_served

__all__ = ["run_gateway", "run_portal"]

_PAGES = counter(
    "clarion_portal_requests",
    "Requests for pages of the portal, by page and HTTP status.",
    ["page", "status"],
)
_PAGE_SECONDS = histogram(
    "clarion_portal_request_seconds",
    "Duration of requests for pages of the portal, except live tails.",
    ["page"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
_ENVOY = gauge("clarion_gateway_envoy_up", "Whether Envoy's metrics could be read (1) or not (0).")
_ENVOY_SECONDS = 5.0
"""How long Envoy may take to return its metrics: half of Prometheus's own limit, by default."""
_LIVE = "/live/"
"""Paths of live tails begin so; they last as long as their reader wants."""


async def run_portal(settings: PortalSettings) -> None:
    """Run the portal until SIGTERM or SIGINT.

    Raises:
        ConfigError: `portal.metrics` is invalid.
    """
    from portal.run import run_portal  # noqa: PLC0415 - slow to import

    async with metrics_served("portal", settings.metrics, "portal.metrics"):
        await run_portal(settings, _observe)


def _observe(page: str, status: int, seconds: float) -> None:
    _PAGES.labels(page, str(status)).inc()
    if not page.startswith(_LIVE):
        _PAGE_SECONDS.labels(page).observe(seconds)


async def run_gateway(
    settings: gateway.GatewaySettings, folder: Path, reload: Callable[[], gateway.GatewaySettings]
) -> int:
    """Run the gateway until a signal, and return Envoy's exit code.

    Args:
        settings: Its settings.
        folder: Envoy's folder.
        reload: Returns the settings for a new Envoy.

    Raises:
        ConfigError: `gateway.metrics` is invalid.
        GatewayError: The port is in use, or Envoy does not start.
    """
    async with metrics_served("gateway", settings.metrics, "gateway.metrics", lambda: _of_envoy(settings)):
        return await gateway.run_gateway(settings, workdir=folder, reload=reload)


def _of_envoy(settings: gateway.GatewaySettings) -> bytes:
    """Return Envoy's metrics, or nothing if it does not answer. Each scrape has its own thread."""
    try:
        text = asyncio.run(asyncio.wait_for(gateway.envoy_metrics(settings), _ENVOY_SECONDS))
    except (gateway.GatewayError, TimeoutError):
        _ENVOY.set(0)
        return b""
    _ENVOY.set(1)
    return text.encode()
