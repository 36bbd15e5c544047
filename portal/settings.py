"""The portal's settings: the table `[portal]` of the configuration."""

from __future__ import annotations

from typing import Annotated

import msgspec

__all__ = ["BASE_PATH", "PortalSettings"]

BASE_PATH = r"^(/[A-Za-z0-9_-]+)+$"
"""Paths that need no escaping in URLs, in cookies or in the gateway's expressions."""
_SERVER_TLS = ("server_tls_ca", "server_tls_certificate", "server_tls_key")
BasePath = Annotated[str, msgspec.Meta(pattern=BASE_PATH, max_length=100)]
Address = Annotated[str, msgspec.Meta(pattern=r"^(unix:/.+|.+:[0-9]+)$")]
PublicUrl = Annotated[str, msgspec.Meta(pattern=r"^(https?://[^/?#\s]+)?$")]


class PortalSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The portal. Addresses are `host:port` or `unix:/path`."""

    enabled: bool = True
    """Whether `clarion up` starts the portal."""
    listen: Address = "127.0.0.1:8082"
    servers: Annotated[tuple[Address, ...], msgspec.Meta(min_length=1)] = ("127.0.0.1:8081",)
    """The servers that it calls, the preferred first."""
    server_tls_ca: str = ""
    """PEM file of the authorities of the servers' certificates. If set, servers are called by TLS."""
    server_tls_certificate: str = ""
    """PEM file with the portal's own certificate for servers, and its chain."""
    server_tls_key: str = ""
    """PEM file with its key."""
    server_tls_name: str = ""
    """The DNS name in the servers' certificates; by default the host in `servers`."""
    public_url: PublicUrl = ""
    """Scheme and host by which browsers reach the gateway; if empty, they are taken from each request."""
    base_path: BasePath = "/portal"
    read_only: bool = False
    metrics: str = ""
    """Where metrics are served, as `host:port`; empty to disable them."""
    oidc_client_secret: str = ""
    """The secret with which the portal gets ID tokens from the OpenID provider; empty for none."""

    def __post_init__(self) -> None:
        """Check what depends on several settings."""
        missing = [name for name in _SERVER_TLS if not getattr(self, name)]
        if missing and len(missing) < len(_SERVER_TLS):
            raise ValueError(f"{missing[0]}: is missing; set all of {', '.join(_SERVER_TLS)}, or none")

    def __repr__(self) -> str:
        """Leave out the secret, because reprs end up in logs."""
        shown = {name: getattr(self, name) for name in self.__struct_fields__ if name != "oidc_client_secret"}
        return f"PortalSettings({', '.join(f'{name}={value!r}' for name, value in shown.items())})"
