"""The operator's certificate and key: reads and checks them, writes them for Envoy, and watches them."""

from __future__ import annotations

import asyncio
import os
import ssl
import stat
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ..config.tls import SECRET_FILE, secret_resource
from ..errors import GatewayError
from ..settings import GatewaySettings
from .folder import private_folder

__all__ = ["KeyPair", "check_pair"]

LARGEST_FILE = 1024 * 1024
LOOK_SECONDS = 1.0
ROUNDS = 4
"""More messages than a TLS handshake has, each way."""

Stamp = tuple[tuple[int, ...] | None, ...]


@dataclass(frozen=True, slots=True)
class KeyPair:
    """The files of a certificate (with its chain) and of its key."""

    certificate: Path
    key: Path

    @classmethod
    def of(cls, settings: GatewaySettings) -> KeyPair | None:
        """Return the pair that the settings name, or None without TLS."""
        if not settings.tls_certificate:
            return None
        return cls(Path(settings.tls_certificate).expanduser(), Path(settings.tls_key).expanduser())

    def write(self, folder: Path) -> None:
        """Check the pair and write it for Envoy.

        Raises:
            GatewayError: It is invalid; the message names the setting and the file.
        """
        certificate = _read(self.certificate, "tls_certificate")
        key = _read(self.key, "tls_key")
        self._prove(certificate, key, folder)
        _replace(folder / SECRET_FILE, secret_resource(certificate, key))

    async def watch(self, folder: Path, seen: Stamp, notify: Callable[[str], None]) -> None:
        """Write the pair for Envoy whenever it changes, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if (now := self.stamp()) == seen:
                continue
            seen = now  # taken before reading, so that a later change is found in the next round
            try:
                self.write(folder)
            except (GatewayError, OSError) as error:  # such as a full disk
                notify(f"the TLS certificate stays as it was: {error}")
            else:
                notify(f"the TLS certificate was renewed from {self.certificate}")

    def stamp(self) -> Stamp:
        """Return a value that changes when a file, or the target of a symbolic link, is replaced."""
        return tuple(map(_stamp, (self.certificate, self.key)))

    def _prove(self, certificate: str, key: str, folder: Path) -> None:
        """Make a TLS connection with the pair, in memory.

        Raises:
            GatewayError: The key belongs to another certificate, or the certificate is not valid today.
        """
        if "ENCRYPTED" in key:
            raise GatewayError(f"tls_key: {self.key} is encrypted; store it without a passphrase, mode 0600")
        try:
            server = _server(certificate, key, folder)
        except ssl.SSLError as error:
            why = (error.reason or "not PEM").replace("_", " ").lower()
            raise GatewayError(
                f"tls_key: {self.key} does not match tls_certificate {self.certificate} ({why}); "
                "set them to the certificate followed by its chain, and to its key, as PEM files"
            ) from None
        try:
            _shake_hands(server, _client(certificate))
        except ssl.SSLCertVerificationError as error:
            why = error.verify_message
            raise GatewayError(
                f"tls_certificate: {self.certificate}: {why}; replace it by a valid one"
            ) from None
        except ssl.SSLError as error:
            raise GatewayError(f"tls_certificate: {self.certificate}: {error.reason}") from None


def check_pair(settings: GatewaySettings) -> None:
    """Check the TLS pair if the settings name one.

    Raises:
        GatewayError: It is invalid; the message names the setting and the file.
    """
    if pair := KeyPair.of(settings):
        with private_folder() as folder:
            pair.write(folder)


def _read(path: Path, setting: str) -> str:
    """Return the text of a regular file. Reading a pipe or a device could block."""
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise GatewayError(f"{setting}: {path} is not a file")
            content = file.read(LARGEST_FILE + 1)
        if len(content) > LARGEST_FILE:
            raise GatewayError(f"{setting}: {path} is too large for a PEM file")
        return content.decode("ascii")
    except OSError as error:
        raise GatewayError(
            f"{setting}: cannot read {path}: {error.strerror}; name a PEM file that this user may read"
        ) from None
    except UnicodeDecodeError:
        raise GatewayError(f"{setting}: {path} is not PEM; convert it with openssl") from None


def _server(certificate: str, key: str, folder: Path) -> ssl.SSLContext:
    """Return a server's TLS context. Python reads only files, so a temporary one (0600) has both."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile("w", dir=folder, suffix=".pem") as file:
        file.write(f"{certificate}\n{key}\n")
        file.flush()
        context.load_cert_chain(file.name)
    return context


def _client(certificate: str) -> ssl.SSLContext:
    """Return the TLS context of a caller that trusts this certificate, whatever its name and issuer."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(cadata=certificate)
    return context


def _shake_hands(server: ssl.SSLContext, client: ssl.SSLContext) -> None:
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (client.wrap_bio(to_client, to_server), server.wrap_bio(to_server, to_client, server_side=True))
    for _ in range(ROUNDS):
        for end in ends:
            with suppress(ssl.SSLWantReadError):
                end.do_handshake()


def _replace(path: Path, text: str) -> None:
    """Replace a file atomically, with mode 0600. Envoy reads it when a file is renamed to this name."""
    descriptor, name = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    Path(name).replace(path)


def _stamp(path: Path) -> tuple[int, ...] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino, found.st_dev
