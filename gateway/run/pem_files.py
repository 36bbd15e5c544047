"""Reads and checks the PEM files of one end of TLS: a certificate, its key, and certificate authorities."""

from __future__ import annotations

import asyncio
import os
import ssl
import stat
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ..config.tls import PemContent
from ..errors import GatewayError

__all__ = ["PemFiles", "Stamp", "watch"]

LARGEST_FILE = 1024 * 1024
LOOK_SECONDS = 1.0
ROUNDS = 4
"""More messages than a TLS handshake has, each way."""

Stamp = tuple[tuple[int, ...] | None, ...]


@dataclass(frozen=True, slots=True)
class PemFiles:
    """The files of one end of TLS, and the settings that name them.

    Attributes:
        settings: The settings of the certificate with its chain, of the key, and of the authorities.
        certificate: The first file.
        key: The second one.
        ca: The third one: the authorities that the other end's certificate must be from; None for none.
        is_client: Whether it is the end that connects.
        what: What messages call the certificate.
    """

    settings: tuple[str, str, str]
    certificate: Path
    key: Path
    ca: Path | None = None
    is_client: bool = False
    what: str = "TLS certificate"

    def read(self, folder: Path | None = None) -> PemContent:
        """Read and check the files.

        Args:
            folder: A private folder for a temporary file; by default, the system's.

        Raises:
            GatewayError: One is invalid; the message names the setting and the file.
        """
        certificate = _read(self.certificate, self.settings[0])
        key = _read(self.key, self.settings[1])
        expiry = {self.settings[0]: self._prove(certificate, key, folder)}
        if self.ca is None:
            return PemContent(certificate, key, expiry=expiry)
        ca = _read(self.ca, self.settings[2])
        return PemContent(certificate, key, ca, {**expiry, self.settings[2]: self._check_ca(ca)})

    def stamp(self) -> Stamp:
        """Return a value that changes when a file, or the target of a symbolic link, is replaced."""
        return tuple(map(_stamp, filter(None, (self.certificate, self.key, self.ca))))

    def _prove(self, certificate: str, key: str, folder: Path | None) -> float:
        """Make a TLS connection with the pair, in memory; return when the certificate expires.

        Raises:
            GatewayError: The key belongs to another certificate, or the certificate is not valid today.
        """
        of_certificate, of_key, _ = self.settings
        if "ENCRYPTED" in key:
            raise GatewayError(f"{of_key}: {self.key} is encrypted; store it without a passphrase, mode 0600")
        server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        client.check_hostname = False
        try:
            _load_pair(certificate, key, folder, (server, client) if self.is_client else (server,))
        except ssl.SSLError as error:
            why = (error.reason or "not PEM").replace("_", " ").lower()
            raise GatewayError(
                f"{of_key}: {self.key} does not match {of_certificate} {self.certificate} ({why}); "
                "set them to the certificate followed by its chain, and to its key, as PEM files"
            ) from None
        if self.is_client:
            client.verify_mode = ssl.CERT_NONE
        try:
            return _shake_hands(server, client, certificate, server if self.is_client else client)
        except ssl.SSLCertVerificationError as error:
            raise GatewayError(
                f"{of_certificate}: {self.certificate}: {error.verify_message}; replace it by a valid one"
            ) from None
        except ssl.SSLError as error:
            raise GatewayError(f"{of_certificate}: {self.certificate}: {error.reason}") from None

    def _check_ca(self, ca: str) -> float:
        """Return when the first of the authorities that are valid today expires.

        Raises:
            GatewayError: None is.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        try:
            context.load_verify_locations(cadata=ca)
        except (ssl.SSLError, ValueError):
            raise GatewayError(
                f"{self.settings[2]}: {self.ca} is damaged or incomplete; name a PEM file of certificates"
            ) from None
        found: list[dict[str, object]] = context.get_ca_certs()  # type: ignore[assignment]
        if not found:
            raise GatewayError(
                f"{self.settings[2]}: {self.ca} has no certificate authority; name the file of the authority "
                "that signed the certificates, not of one of them"
            )
        valid = [ends for one in found if _seconds(one, "notBefore") <= time.time() < (ends := _end(one))]
        if not valid:
            raise GatewayError(
                f"{self.settings[2]}: no certificate authority in {self.ca} is valid today; add a valid one"
            )
        return min(valid)


async def watch(
    files: PemFiles, seen: Stamp, apply: Callable[[], object], notify: Callable[[str], None]
) -> None:
    """Apply the files whenever they change, until cancelled.

    Args:
        files: The files.
        seen: The stamp of those that are in use.
        apply: Reads the files and puts them to use. If it raises an error, nothing changes.
        notify: Called with a message for the operator.
    """
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        if (now := files.stamp()) == seen:
            continue
        seen = now  # taken before reading, so that a later change is found in the next round
        try:
            apply()
        except (GatewayError, OSError) as error:  # such as a full disk
            notify(f"the {files.what} stays as it was: {error}")
        else:
            notify(f"the {files.what} was renewed from {files.certificate}")


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


def _load_pair(certificate: str, key: str, folder: Path | None, ends: tuple[ssl.SSLContext, ...]) -> None:
    """Load the pair. Python reads only files, so a temporary one (0600) has both."""
    with tempfile.NamedTemporaryFile("w", dir=folder, suffix=".pem") as file:
        file.write(f"{certificate}\n{key}\n")
        file.flush()
        for end in ends:
            end.load_cert_chain(file.name)


def _shake_hands(
    server: ssl.SSLContext, client: ssl.SSLContext, certificate: str, verifier: ssl.SSLContext
) -> float:
    """Connect both ends, of which one trusts only this certificate, whatever its name and issuer.

    Returns:
        When the certificate expires.
    """
    verifier.verify_mode = ssl.CERT_REQUIRED
    verifier.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    verifier.load_verify_locations(cadata=certificate)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    of_client = client.wrap_bio(to_client, to_server)
    of_server = server.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(ROUNDS):
        for end in (of_client, of_server):
            with suppress(ssl.SSLWantReadError):
                end.do_handshake()
    shown = (of_client if verifier is client else of_server).getpeercert()
    return _end(shown or {})


def _end(certificate: Mapping[str, object]) -> float:
    return _seconds(certificate, "notAfter")


def _seconds(certificate: Mapping[str, object], name: str) -> float:
    return ssl.cert_time_to_seconds(str(certificate[name]))


def _stamp(path: Path) -> tuple[int, ...] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino, found.st_dev
