"""The dispatcher's settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..errors import ConfigError

__all__ = ["DispatchSettings"]


@dataclass(frozen=True, slots=True)
class DispatchSettings:
    """How the dispatcher works. Times in seconds."""

    poll_interval: float = 0.5
    """Retries and scheduled triggers become due by time: the queue is asked at least this often."""
    lease: float = 60.0
    """How long a claim is ours; longer than every provider's timeout."""
    grace: float = 25.0
    """How long a shutdown waits for sends that are under way, and for their recording."""
    unrecorded_limit: int = 10_000
    """Outcomes that may wait to be recorded; beyond it nothing is claimed."""

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        for setting in ("poll_interval", "lease", "unrecorded_limit"):
            if not getattr(self, setting) > 0:
                raise ConfigError(f"dispatch.{setting}: must be more than 0")
        if self.grace < 0:
            raise ConfigError("dispatch.grace: must be 0 or more")

    def check(self, timeouts: Mapping[str, float]) -> None:
        """Refuse providers whose sends could outlast a lease: they would be sent twice."""
        for name, timeout in timeouts.items():
            if timeout >= self.lease:
                raise ConfigError(
                    f"providers.{name}.timeout: {timeout:g} s must be less than "
                    f"dispatch.lease ({self.lease:g} s)"
                )
