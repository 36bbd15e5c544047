"""The dispatcher's settings: the table `[dispatch]` of the configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import msgspec

from ..errors import ConfigError

__all__ = ["DispatchSettings"]

Seconds = Annotated[float, msgspec.Meta(gt=0, le=86400)]


class DispatchSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How the dispatcher works. Times in seconds."""

    lease: Seconds = 60.0
    """How long a claim belongs to one dispatcher. It must be longer than every provider's timeout."""
    poll_interval: Seconds = 0.5
    """How often to look for due retries and scheduled triggers. New triggers are announced at once."""
    shutdown_grace: Annotated[float, msgspec.Meta(ge=0, le=3600)] = 25.0
    """How long a shutdown waits for sends in flight and for recording their outcomes."""
    metrics: str = ""
    """Where metrics are served, as `host:port`; empty to disable them."""

    def check_timeouts(self, timeouts: Mapping[str, float]) -> None:
        """Reject providers whose sends could outlast a lease, because such messages would be sent twice.

        Args:
            timeouts: The send timeout in seconds by provider name.

        Raises:
            ConfigError: A timeout is not shorter than the lease.
        """
        for name, timeout in timeouts.items():
            if timeout >= self.lease:
                raise ConfigError(
                    f"providers.{name}.timeout: {timeout:g} s must be less than "
                    f"dispatch.lease ({self.lease:g} s)"
                )
