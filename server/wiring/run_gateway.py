"""Runs the gateway with metrics.

The portal is run by another module, because a process serves the metrics of every module that it imports: a
portal must not report that Envoy is away.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import gateway

from ..metrics import gauge
from ..process.metrics_server import metrics_served

__all__ = ["run_gateway"]

_ENVOY = gauge("clarion_gateway_envoy_up", "Whether Envoy's metrics could be read (1) or not (0).")
_ENVOY_SECONDS = 5.0
"""How long Envoy may take to return its metrics: half of Prometheus's own limit, by default."""


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
