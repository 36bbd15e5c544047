"""Finds what exposes a process or its secrets to other users of the machine."""

from __future__ import annotations

import os
import re
import stat
import tomllib
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import structlog

__all__ = ["exposures", "log_exposures"]

log = structlog.get_logger(__name__)

_SECRET = re.compile(r"(^|_)(password|secret|token|api_key)$")
"""Names of settings that hold secrets. Paths of key files end in `_file`."""
_READ_BY_OTHERS = stat.S_IRGRP | stat.S_IROTH


def exposures(config: Path | None) -> list[str]:
    """Return warnings, each with its remedy.

    Args:
        config: The configuration file that was loaded, if any.
    """
    found = []
    if config is not None and config.stat().st_mode & _READ_BY_OTHERS:
        names = ", ".join(_secrets(tomllib.loads(config.read_text(encoding="utf-8")), ""))
        if names:
            found.append(f"other users can read {names} in {config}; run `chmod 600 {config}`")
    if os.geteuid() == 0:
        found.append(
            "Clarion does not need to run as root, and Envoy keeps root's rights; run it as an ordinary user"
        )
    return found


def log_exposures(config: Path | None) -> None:
    """Log the warnings about this process."""
    for warning in exposures(config):
        log.warning("exposed to other users", what=warning)


def _secrets(table: dict[str, Any], prefix: str) -> list[str]:
    """Return the dotted names of the settings that hold secrets."""
    names = []
    for key, value in table.items():
        if isinstance(value, dict):
            names += _secrets(value, f"{prefix}{key}.")
        elif value and (_SECRET.search(key) or _has_password(value)):
            names.append(f"{prefix}{key}")
    return names


def _has_password(value: object) -> bool:
    """Return whether a value is a URL with a password."""
    if not isinstance(value, str):
        return False
    try:
        return urlsplit(value).password is not None
    except ValueError:
        return False
