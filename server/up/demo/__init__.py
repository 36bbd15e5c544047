"""The demo project: a configuration and campaigns that `make run` starts with."""

from __future__ import annotations

from pathlib import Path

__all__ = ["CAMPAIGNS", "CONFIG", "PROJECT"]

_HERE = Path(__file__).parent
CONFIG = _HERE / "clarion.toml"
CAMPAIGNS = _HERE / "campaigns.yaml"
PROJECT = "demo"  # as in the file of campaigns
