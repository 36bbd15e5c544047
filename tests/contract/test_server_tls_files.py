"""Certificates of gateways and servers: renewed without a restart, and invalid ones change nothing."""

from __future__ import annotations

import asyncio
import datetime as dt
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography import x509

from gateway import GatewayError, GatewaySettings, render
from server.errors import ConfigError
from server.metrics import REGISTRY
from server.wiring.certificates import certificate_of_server
from tests.kit.gateway import trigger
from tests.kit.http_client import http_client
from tests.kit.server_tls import World, gateway_of, server_settings, world
from tests.kit.tls import CA, issue, issue_for
from tests.kit.until import until


async def test_all_certificates_are_renewed_without_a_restart() -> None:
    """A second authority replaces the first one on both sides, and no call fails."""
    async with world() as found, gateway_of(found):
        other = trustme.CA()
        (found.folder / "ca.pem").write_bytes(CA.cert_pem.bytes() + other.cert_pem.bytes())
        await until(lambda: len(found.said) >= 2, lambda: f"both sides of the gateway: {found.said}")
        await until(lambda: other.cert_pem.bytes().decode() in found.certificate.content.ca, "the server")
        for name in ("server", "to-server"):
            pair = other.issue_cert("localhost", "127.0.0.1")
            (found.folder / f"{name}.pem").write_bytes(pair.cert_chain_pems[0].bytes())
            (found.folder / f"{name}.key").write_bytes(pair.private_key_pem.bytes())
        now = (found.folder / "server.pem").read_text()
        await until(lambda: found.certificate.content.certificate == now, "the server's certificate")
        await until(lambda: sum("renewed" in line for line in found.said) >= 3, lambda: f"{found.said}")
        async with http_client(found.url, verify=found.context()) as client:
            assert (await trigger(client)).status_code == 204
        shown = await asyncio.to_thread(_shown_by, found)
        assert shown == x509.load_pem_x509_certificate(now.encode())


def _shown_by(found: World) -> x509.Certificate:
    context = found.context("to-server")
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection(("127.0.0.1", found.port)) as opened,
        context.wrap_socket(opened) as tls,
    ):
        return x509.load_der_x509_certificate(tls.getpeercert(binary_form=True) or b"")


def _cut(path: Path) -> None:
    path.write_text(path.read_text()[:200])


def _swap_key(path: Path) -> None:
    path.with_suffix(".key").write_bytes(CA.issue_cert("localhost").private_key_pem.bytes())


def _remove(path: Path) -> None:
    path.unlink()


def _old(path: Path) -> None:
    issue_for(path.parent, path.stem, x509.DNSName("localhost"), valid=(-3, -1))


@pytest.mark.parametrize(
    ("file", "spoil", "words"),
    [
        ("server.pem", _cut, ("server.tls_key: ", "does not match")),
        ("server.pem", _swap_key, ("server.tls_key: ", "does not match")),
        ("server.pem", _remove, ("server.tls_certificate: cannot read", "No such file")),
        ("server.pem", _old, ("server.tls_certificate: ", "certificate has expired")),
        ("ca.pem", _cut, ("server.tls_client_ca: ", "is damaged or incomplete")),
        ("ca.pem", lambda path: path.write_text(""), ("server.tls_client_ca: ", "damaged")),
        (
            "ca.pem",
            lambda path: path.write_bytes((path.parent / "server.pem").read_bytes()),
            ("server.tls_client_ca: ", "has no certificate authority"),
        ),
    ],
)
async def test_invalid_files_keep_the_old_certificate(
    tmp_path: Path, file: str, spoil: Any, words: tuple[str, ...]
) -> None:
    CA.cert_pem.write_to_path(tmp_path / "ca.pem")
    issue(tmp_path, "server")
    settings = server_settings(tmp_path, 1)
    certificate = certificate_of_server(settings)
    assert certificate
    before = certificate.content
    spoil(tmp_path / file)
    with pytest.raises(ConfigError) as caught:
        certificate_of_server(settings)
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)
    with pytest.raises(GatewayError):
        certificate._renew()
    assert certificate.content is before


async def test_expiry_is_a_metric(tmp_path: Path) -> None:
    CA.cert_pem.write_to_path(tmp_path / "ca.pem")
    made = issue_for(tmp_path, "server", x509.DNSName("localhost"), valid=(-1, 10))
    assert certificate_of_server(server_settings(tmp_path, 1))
    name = "clarion_certificate_expiry_timestamp_seconds"
    found = REGISTRY.get_sample_value(name, {"setting": "server.tls_certificate"})
    assert found == made.not_valid_after_utc.timestamp()
    ca = REGISTRY.get_sample_value(name, {"setting": "server.tls_client_ca"})
    assert ca
    assert ca > dt.datetime.now(dt.UTC).timestamp()


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"server_tls_ca": "/x"}, "server_tls_certificate: is missing; set all of"),
        ({"tls_client_ca": "/x"}, "tls_client_ca: needs TLS"),
        (
            {
                **{f"server_tls_{one}": "/x" for one in ("ca", "certificate", "key")},
                "upstreams": ("unix:/a", "127.0.0.1:1"),
            },
            "server_tls_ca: upstreams cannot mix",
        ),
    ],
)
def test_settings_that_do_not_fit_are_named(settings: dict[str, Any], problem: str) -> None:
    with pytest.raises(GatewayError, match=problem):
        GatewaySettings(**settings)


def test_caller_certificates_need_a_trusted_gateway() -> None:
    pair = {"tls_certificate": "/x", "tls_key": "/x", "tls_client_ca": "/x"}
    with pytest.raises(GatewayError, match="tls_client_ca: servers accept"):
        render(GatewaySettings(**pair))  # type: ignore[arg-type]
    assert render(GatewaySettings(**pair, upstreams=("unix:/a",)))  # type: ignore[arg-type]
