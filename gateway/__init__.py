"""The gateway: Envoy, its configuration as plain data, and its runner."""

from __future__ import annotations

from .command import check, command
from .config import build, render
from .errors import GatewayError
from .family import remove_leftovers
from .options import HALF_THE_CORES, GatewayOptions
from .probe import wait_ready, wait_upstream
from .runner import Gateway, run, running
from .tls import check_pair

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
    "run",
    "running",
    "wait_ready",
    "wait_upstream",
]
