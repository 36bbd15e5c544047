"""What can go wrong with the gateway process."""

from __future__ import annotations

__all__ = ["GatewayError"]


class GatewayError(Exception):
    """The gateway cannot run; the message says in one line or two why and what to do."""
