"""Builds the environments of child processes. Each contains only the settings that the process reads.

Envoy, which is exposed to outside callers, must not have the passwords of providers and of the database in
its environment.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from gateway import basic_environment

__all__ = ["DISPATCHER", "GATEWAY", "PORTAL", "SERVER", "child_environment"]

_PREFIX = "CLARION_"
SERVER = frozenset({"DATABASE", "SERVER", "LIMITS", "WEBHOOKS", "LOG"})
"""The sections of the configuration that a server reads."""
DISPATCHER = frozenset({"DATABASE", "SERVER", "DISPATCH", "WEBHOOKS", "PROVIDERS", "LOG"})
GATEWAY = frozenset({"GATEWAY", "LOG"})
PORTAL = frozenset({"PORTAL", "LOG"})
_EVERYWHERE = frozenset({"CLARION_DATA_DIR"})
_POSTGRES = "PG"
"""Variables of libpq, such as PGSSLROOTCERT."""
_TRACES = "OTEL_"
"""Variables of OpenTelemetry. Envoy itself does not get them, but its configuration contains their values."""
_RUNTIME = ("PYTHON", "GRPC_", "OPENSSL_", "SSL_CERT_", _TRACES)


def child_environment(sections: frozenset[str], environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the environment variables that a child needs if it reads these sections."""
    prefixes = (*_RUNTIME, _POSTGRES) if "DATABASE" in sections else _RUNTIME
    read = {
        name: value
        for name, value in environ.items()
        if name.startswith(prefixes) or _is_read(name, sections)
    }
    return {**basic_environment(environ), **read}


def _is_read(name: str, sections: frozenset[str]) -> bool:
    if not name.startswith(_PREFIX):
        return False
    # Every process checks that each provider in the configuration file has a type.
    is_type = name.startswith(f"{_PREFIX}PROVIDERS_") and name.endswith("_TYPE")
    section = name.removeprefix(_PREFIX).partition("_")[0]
    return name in _EVERYWHERE or section in sections or is_type
