"""The servers' settings: the table `[server]` of the configuration."""

from __future__ import annotations

from typing import Annotated

import msgspec

__all__ = ["ServerSettings"]

Seconds = Annotated[float, msgspec.Meta(gt=0, le=86400)]
Grace = Annotated[float, msgspec.Meta(ge=0, le=3600)]
Domain = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9-]+(\.[a-z0-9-]+)*$", max_length=253)]
_UNIX = "unix:"
_TLS = ("tls_certificate", "tls_key", "tls_client_ca")


class ServerSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The gRPC server. `listen` is `host:port` or `unix:/path`; times in seconds."""

    listen: str = "127.0.0.1:8081"
    tls_certificate: str = ""
    """PEM file with the certificate and its chain. If set, a `listen` of `host:port` accepts TLS only."""
    tls_key: str = ""
    """PEM file with its key."""
    tls_client_ca: str = ""
    """PEM file of the authorities of gateways and portals, without whose certificates no one can connect."""
    processes: Annotated[int, msgspec.Meta(ge=1, le=64)] = 1
    deadline: Seconds = 5.0
    lame_duck: Grace = 2.0
    shutdown_grace: Grace = 5.0
    catalog_interval: Annotated[float, msgspec.Meta(gt=0, le=0.9)] = 0.25
    catalog_max_age: Seconds = 5.0
    max_concurrent: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 1_000
    max_watchers: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 100
    max_pending: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 10_000
    metrics: str = ""
    reflection: bool = True
    idempotency_ttl: Annotated[float, msgspec.Meta(ge=60, le=31_536_000)] = 86_400.0
    refused_domains: tuple[Domain, ...] = ()

    def __post_init__(self) -> None:
        """Check what depends on several settings."""
        missing = [name for name in _TLS if not getattr(self, name)]
        if missing and len(missing) < len(_TLS):
            raise ValueError(f"{missing[0]}: is missing; set all of {', '.join(_TLS)}, or none")

    @property
    def uses_tls(self) -> bool:
        """Whether `listen` accepts TLS only; a Unix socket never uses it."""
        return bool(self.tls_certificate) and not self.listen.startswith(_UNIX)

    @property
    def knows_gateways(self) -> bool:
        """Whether only gateways and portals can connect, so that what they say about callers is true."""
        return self.uses_tls or self.listen.startswith(_UNIX)
