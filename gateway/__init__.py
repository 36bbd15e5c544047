"""The gateway: Envoy, its configuration as plain data, and its runner."""

from __future__ import annotations

from .config import build, render
from .errors import GatewayError
from .options import GatewayOptions
from .runner import Gateway, check, command, run, running, wait_ready

__all__ = [
    "Gateway",
    "GatewayError",
    "GatewayOptions",
    "build",
    "check",
    "command",
    "render",
    "run",
    "running",
    "wait_ready",
]
