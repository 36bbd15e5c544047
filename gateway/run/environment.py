"""The environment of Envoy, which needs no settings or secrets from it."""

from __future__ import annotations

import os
from collections.abc import Mapping

__all__ = ["basic_environment"]

_BASIC = frozenset(
    {"HOME", "LANG", "LANGUAGE", "LD_LIBRARY_PATH", "LOGNAME", "PATH", "SHELL", "TMPDIR", "TZ", "USER"}
)
_LOCALE = "LC_"


def basic_environment(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the variables that any program may need, and nothing else."""
    return {name: value for name, value in environ.items() if name in _BASIC or name.startswith(_LOCALE)}
