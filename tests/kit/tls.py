"""Certificates of an authority made for the tests, and gateways that use them."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import Any

import trustme

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
