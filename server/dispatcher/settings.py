"""The dispatcher's settings: the table `[dispatch]` of the configuration."""

from __future__ import annotations

from typing import Annotated

import msgspec

__all__ = ["DispatchSettings"]

Seconds = Annotated[float, msgspec.Meta(gt=0, le=86400)]


class DispatchSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How the dispatcher works. Times in seconds."""

    lease: Seconds = 60.0
    """How long a dead dispatcher's claims stay reserved. Leases are renewed while messages are being sent."""
    poll_interval: Seconds = 0.5
    """How often to look for due retries and scheduled triggers. New triggers are announced at once."""
    shutdown_grace: Annotated[float, msgspec.Meta(ge=0, le=3600)] = 25.0
    """How long a shutdown waits for sends in flight and for recording their outcomes."""
    metrics: str = ""
    """Where metrics are served, as `host:port`; empty to disable them."""
    metrics_by_campaign: bool = False
    """Whether to count attempts by campaign, too: two series for each campaign, or more."""
