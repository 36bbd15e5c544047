"""The certificates of Envoy: checks the operator's files, writes them for Envoy, and watches them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..config.tls import PemContent, listener_secrets, upstream_secrets
from ..settings import GatewaySettings
from .folder import private_folder
from .pem_files import PemFiles, Stamp, watch

__all__ = ["EnvoyTls", "check_tls", "tls_of"]


@dataclass(frozen=True, slots=True)
class EnvoyTls:
    """PEM files, and how Envoy gets them.

    Attributes:
        files: The files.
        secrets: Returns the files for Envoy, by name.
    """

    files: PemFiles
    secrets: Callable[[PemContent], Mapping[str, str]]

    def write(self, folder: Path) -> None:
        """Check the files and write them for Envoy.

        Raises:
            GatewayError: One is invalid; the message names the setting and the file.
        """
        for name, text in self.secrets(self.files.read(folder)).items():
            _replace(folder / name, text)

    async def watch(self, folder: Path, seen: Stamp, notify: Callable[[str], None]) -> None:
        """Write the files for Envoy whenever they change, until cancelled."""
        await watch(self.files, seen, lambda: self.write(folder), notify)


def tls_of(settings: GatewaySettings) -> list[EnvoyTls]:
    """Return what the settings name: for callers, and for servers."""
    found = []
    if settings.tls_certificate:
        names = ("tls_certificate", "tls_key", "tls_client_ca")
        found.append(EnvoyTls(PemFiles(names, *_paths(settings, names)), listener_secrets))
    if settings.calls_servers_by_tls:
        names = ("server_tls_certificate", "server_tls_key", "server_tls_ca")
        what = "TLS certificate for servers"
        files = PemFiles(names, *_paths(settings, names), is_client=True, what=what)
        found.append(EnvoyTls(files, upstream_secrets))
    return found


def check_tls(settings: GatewaySettings) -> None:
    """Check the TLS files that the settings name.

    Raises:
        GatewayError: One is invalid; the message names the setting and the file.
    """
    for one in tls_of(settings):
        with private_folder() as folder:
            one.files.read(folder)


def _paths(settings: GatewaySettings, names: tuple[str, str, str]) -> tuple[Path, Path, Path | None]:
    certificate, key, ca = (getattr(settings, name) for name in names)
    return Path(certificate).expanduser(), Path(key).expanduser(), Path(ca).expanduser() if ca else None


def _replace(path: Path, text: str) -> None:
    """Replace a file atomically, with mode 0600. Envoy reads it when a file is renamed to this name."""
    descriptor, name = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    Path(name).replace(path)
