"""Certificates of an authority made for the tests, and gateways that use them."""

from __future__ import annotations

import asyncio
import datetime as dt
import ssl
from pathlib import Path
from typing import Any

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from gateway import GatewaySettings
from tests.kit.gateway_process import options_for

CA = trustme.CA()


def issue(folder: Path, name: str = "pair", **more: Any) -> trustme.LeafCert:
    """Write a new certificate for localhost and its key as `name.pem` and `name.key`."""
    pair = CA.issue_cert("localhost", "127.0.0.1", **more)
    write(pair, folder, name)
    return pair


def write(pair: trustme.LeafCert, folder: Path, name: str = "pair") -> None:
    chain = b"".join(blob.bytes() for blob in pair.cert_chain_pems)
    (folder / f"{name}.pem").write_bytes(chain)
    (folder / f"{name}.key").write_bytes(pair.private_key_pem.bytes())


def issue_for(
    folder: Path,
    name: str,
    *names: x509.GeneralName,
    ca: trustme.CA = CA,
    valid: tuple[int, int] = (-1, 30),
) -> x509.Certificate:
    """Write a certificate with any subject alternative names, and its key, as `name.pem` and `name.key`.

    Args:
        folder: Where to write.
        name: The name of the files.
        names: Its subject alternative names.
        ca: The issuer.
        valid: From when to when, in days from now.
    """
    issuer = x509.load_pem_x509_certificate(ca.cert_pem.bytes())
    issuer_key: Any = serialization.load_pem_private_key(ca.private_key_pem.bytes(), None)
    key, now = ec.generate_private_key(ec.SECP256R1()), dt.datetime.now(dt.UTC)
    begin, end = (now + dt.timedelta(days=days) for days in valid)
    made = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]))
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(issuer_key, hashes.SHA256())
    )
    pem, pkcs8, plain = (
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    (folder / f"{name}.pem").write_bytes(made.public_bytes(pem))
    (folder / f"{name}.key").write_bytes(key.private_bytes(pem, pkcs8, plain))
    return made


def serial_of(pair: trustme.LeafCert) -> bytes:
    """Return the certificate itself, as a peer shows it."""
    return ssl.PEM_cert_to_DER_cert(pair.cert_chain_pems[0].bytes().decode())


def trusting() -> ssl.SSLContext:
    context = ssl.create_default_context()
    CA.configure_trust(context)
    return context


async def shown(options: GatewaySettings) -> bytes:
    """Return the certificate that a new connection is shown."""
    _, writer = await asyncio.open_connection("localhost", options.port, ssl=trusting())
    found: ssl.SSLObject = writer.get_extra_info("ssl_object")
    writer.close()
    return found.getpeercert(binary_form=True) or b""


def tls(folder: Path, name: str = "pair", **more: Any) -> GatewaySettings:
    return options_for(folder, tls_certificate=f"{folder}/{name}.pem", tls_key=f"{folder}/{name}.key", **more)
