"""The gateway: Envoy, its configuration as plain data, and its runner."""

from __future__ import annotations

from .config.bootstrap import build, render
from .errors import GatewayError
from .options import HALF_THE_CORES, GatewayOptions
from .run.command import check, command
from .run.hot_restart import remove_leftovers
from .run.probe import wait_ready, wait_upstream
from .run.runner import Gateway, run_gateway, running
from .run.tls import check_pair

__all__ = [
    "HALF_THE_CORES",
    "Gateway",
    "GatewayError",
    "GatewayOptions",
    "build",
    "check",
    "check_pair",
    "command",
    "remove_leftovers",
    "render",
    "run_gateway",
    "running",
    "wait_ready",
    "wait_upstream",
]
