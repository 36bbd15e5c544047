"""The gateway: Envoy, its configuration as plain data, and the code that runs it."""

from __future__ import annotations

from .config.bootstrap import build, render
from .config.tls import PemContent
from .errors import GatewayError, GatewaySettingsError
from .otlp import Otlp, OtlpProblem, otlp_problem, read_otlp
from .run.command import check, command, export
from .run.environment import basic_environment
from .run.folder import private_folder
from .run.launch import launcher
from .run.pem_files import PemFiles, watch
from .run.probe import check_port, wait_ready, wait_upstream
from .run.runner import Gateway, running
from .run.service import envoy_metrics, run_gateway
from .run.shared_memory import remove_leftovers
from .run.tls import check_tls
from .settings import GatewaySettings

__all__ = [
    "Gateway",
    "GatewayError",
    "GatewaySettings",
    "GatewaySettingsError",
    "Otlp",
    "OtlpProblem",
    "PemContent",
    "PemFiles",
    "basic_environment",
    "build",
    "check",
    "check_port",
    "check_tls",
    "command",
    "envoy_metrics",
    "export",
    "launcher",
    "otlp_problem",
    "private_folder",
    "read_otlp",
    "remove_leftovers",
    "render",
    "run_gateway",
    "running",
    "wait_ready",
    "wait_upstream",
    "watch",
]
