"""The gateway's errors."""

from __future__ import annotations

__all__ = ["GatewayError", "GatewaySettingsError"]


class GatewayError(Exception):
    """The gateway cannot run; the message gives the cause and the remedy in one or two lines."""


class GatewaySettingsError(GatewayError, ValueError):
    """A setting of the gateway is wrong; the message starts with its name.

    A ValueError, so that msgspec adds where in the configuration it is.
    """
