"""The operator's certificate and key: read, proved to belong together, handed to Envoy, and watched."""

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
        """Return the pair that the settings name; None: no TLS."""
        if not settings.tls_certificate:
            return None
        return cls(Path(settings.tls_certificate).expanduser(), Path(settings.tls_key).expanduser())

    def write(self, folder: Path) -> None:
        """Write the pair for Envoy, if it is a good one.

        Raises:
            GatewayError: it is not; the message names the setting and the file.
        """
        certificate = _read(self.certificate, "tls_certificate")
        key = _read(self.key, "tls_key")
        self._prove(certificate, key, folder)
        _replace(folder / SECRET_FILE, secret_resource(certificate, key))

    async def watch(self, folder: Path, seen: Stamp, say: Callable[[str], None]) -> None:
        """Hand a new pair over whenever one is there; until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if (now := self.stamp()) == seen:
                continue
            seen = now  # from before reading: what changes meanwhile is seen at the next look
            try:
                self.write(folder)
            except (GatewayError, OSError) as error:  # a full disk among them
                say(f"the TLS certificate stays as it was: {error}")
            else:
                say(f"the TLS certificate was renewed from {self.certificate}")

    def stamp(self) -> Stamp:
        """Return what changes when a file is replaced, also behind a symbolic link."""
        return tuple(map(_stamp, (self.certificate, self.key)))

    def _prove(self, certificate: str, key: str, folder: Path) -> None:
        """Make a TLS connection with the pair, in memory.

        Raises:
            GatewayError: the key is another's, or no caller would take the certificate today.
        """
        if "ENCRYPTED" in key:
            raise GatewayError(f"tls_key: {self.key} is encrypted; store it without a passphrase, mode 0600")
        try:
            server = _server(certificate, key, folder)
        except ssl.SSLError as error:
            why = (error.reason or "not PEM").replace("_", " ").lower()
            raise GatewayError(
                f"tls_key: {self.key} does not go with tls_certificate {self.certificate} ({why}); "
                "name the certificate, its chain after it, and its own key, all as PEM"
            ) from None
        try:
            _shake_hands(server, _client(certificate))
        except ssl.SSLCertVerificationError as error:
            why = error.verify_message
            raise GatewayError(f"tls_certificate: {self.certificate}: {why}; put a valid one there") from None
        except ssl.SSLError as error:
            raise GatewayError(f"tls_certificate: {self.certificate}: {error.reason}") from None


def check_pair(settings: GatewaySettings) -> None:
    """Check the TLS pair that the settings name, if they do.

    Raises:
        GatewayError: something is wrong with it; the message names the setting and the file.
    """
    if pair := KeyPair.of(settings):
        with tempfile.TemporaryDirectory(prefix="clarion-") as folder:
            pair.write(Path(folder))


def _read(path: Path, setting: str) -> str:
    """Return a file's text. A pipe or a device could keep us waiting."""
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
    """Return a server's side. Python takes files only: both go into one of mode 0600, for this moment."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile("w", dir=folder, suffix=".pem") as file:
        file.write(f"{certificate}\n{key}\n")
        file.flush()
        context.load_cert_chain(file.name)
    return context


def _client(certificate: str) -> ssl.SSLContext:
    """Return the side of a caller who trusts this certificate, whatever its name and its issuer are."""
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
    """Write a file for its owner alone, whole or not at all: Envoy looks when a file takes its name."""
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
