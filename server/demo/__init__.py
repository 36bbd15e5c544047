"""The demo project: a configuration and campaigns that `make run` starts with."""

from __future__ import annotations

from pathlib import Path

__all__ = ["CAMPAIGNS", "CONFIG"]

_HERE = Path(__file__).parent
CONFIG = _HERE / "clarion.toml"
CAMPAIGNS = _HERE / "campaigns.yaml"
