"""Certificates between servers and those who call them: read at the start, and whenever they change."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

import gateway
from portal import PortalSettings

from ..config import ServerSettings
from ..errors import ConfigError
from ..metrics import gauge

if TYPE_CHECKING:
    import grpc

__all__ = ["CertificateForServers", "CertificateOfServer", "certificate_for_servers", "certificate_of_server"]

log = structlog.get_logger(__name__)

_EXPIRY = gauge(
    "clarion_certificate_expiry_timestamp_seconds",
    "When what a TLS setting of this process names expires: its certificate, or the first authority.",
    ["setting"],
)


class _Certificate:
    """A certificate that is renewed from its files.

    Args:
        files: The files.

    Raises:
        ConfigError: One is invalid; the message names the setting and the file.
    """

    def __init__(self, files: gateway.PemFiles) -> None:
        self._files = files
        self._seen = files.stamp()
        try:
            self.content = files.read()
        except gateway.GatewayError as error:
            raise ConfigError(str(error)) from error
        self._report()

    async def watch(self) -> None:
        """Read the files whenever they change, until cancelled. Invalid ones change nothing."""
        await gateway.watch(self._files, self._seen, self._renew, log.warning)

    def _renew(self) -> None:
        self.content = self._files.read()
        self._report()

    def _report(self) -> None:
        for setting, seconds in self.content.expiry.items():
            _EXPIRY.labels(setting).set(seconds)


class CertificateOfServer(_Certificate):
    """A server's certificate, and the authorities of those who may connect."""

    def credentials(self) -> grpc.ServerCredentials:
        """Return gRPC's credentials, which use the newest files for new connections."""
        import grpc  # noqa: PLC0415 - slow to import; see serve.py

        used = self.content

        def newest() -> grpc.ServerCertificateConfiguration | None:
            """Return the certificate if it has changed. gRPC calls this for each connection."""
            nonlocal used
            if self.content is used:
                return None
            used = self.content
            return _configuration(used)

        fetch: Any = newest  # the type stub does not know that None means no change
        return grpc.dynamic_ssl_server_credentials(
            _configuration(used), fetch, require_client_authentication=True
        )


class CertificateForServers(_Certificate):
    """The certificate by which servers recognise a portal."""

    def __init__(self, files: gateway.PemFiles) -> None:
        super().__init__(files)
        self._used: tuple[gateway.PemContent, grpc.ChannelCredentials] | None = None

    def current(self) -> grpc.ChannelCredentials:
        """Return gRPC's credentials, the same object until the files change."""
        import grpc  # noqa: PLC0415

        if self._used is None or self._used[0] is not self.content:
            now = self.content
            pair = now.key.encode(), now.certificate.encode()
            self._used = now, grpc.ssl_channel_credentials(now.ca.encode(), *pair)
        return self._used[1]


def certificate_of_server(settings: ServerSettings) -> CertificateOfServer | None:
    """Return a server's certificate, or None if it does not use TLS.

    Raises:
        ConfigError: A file is invalid.
    """
    if not settings.uses_tls:
        return None
    names = ("tls_certificate", "tls_key", "tls_client_ca")
    return CertificateOfServer(_files("server", settings, names))


def certificate_for_servers(settings: PortalSettings) -> CertificateForServers | None:
    """Return a portal's certificate for servers, or None if it does not call them by TLS.

    Raises:
        ConfigError: A file is invalid.
    """
    if not settings.server_tls_ca:
        return None
    names = ("server_tls_certificate", "server_tls_key", "server_tls_ca")
    return CertificateForServers(_files("portal", settings, names, is_client=True))


def _files(
    section: str, settings: ServerSettings | PortalSettings, names: Sequence[str], *, is_client: bool = False
) -> gateway.PemFiles:
    certificate, key, ca = (Path(getattr(settings, name)).expanduser() for name in names)
    of_certificate, of_key, of_ca = (f"{section}.{name}" for name in names)
    return gateway.PemFiles((of_certificate, of_key, of_ca), certificate, key, ca, is_client=is_client)


def _configuration(content: gateway.PemContent) -> grpc.ServerCertificateConfiguration:
    import grpc  # noqa: PLC0415

    pair = content.key.encode(), content.certificate.encode()
    return grpc.ssl_server_certificate_configuration([pair], root_certificates=content.ca.encode())
