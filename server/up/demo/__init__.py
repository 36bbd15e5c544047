"""The demo project: the configuration and campaigns that `make run` uses."""

from __future__ import annotations

from pathlib import Path

__all__ = ["CAMPAIGNS", "CONFIG", "PROJECT"]

_HERE = Path(__file__).parent
CONFIG = _HERE / "clarion.toml"
CAMPAIGNS = _HERE / "campaigns.yaml"
PROJECT = "demo"  # as in campaigns.yaml
