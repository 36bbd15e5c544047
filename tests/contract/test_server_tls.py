"""Mutual TLS between the gateway and servers, with a real Envoy and the servers' own credentials."""

from __future__ import annotations

import asyncio
import datetime as dt
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from gateway import GatewayError, GatewaySettings, render, running
from lab.process import free_port
from portal import PortalSettings
from portal.api import AdminApi
from server.config import ServerSettings
from server.errors import ConfigError
from server.metrics import REGISTRY
from server.process.local_health import _serving
from server.wiring.certificates import CertificateOfServer, certificate_for_servers, certificate_of_server
from tests.kit import toy_upstream
from tests.kit.gateway import JSON, KEY, options_for, trigger
from tests.kit.gateway_process import call, short_folder
from tests.kit.http_client import http_client
from tests.kit.tls import CA, issue, issue_for, trusting
from tests.kit.toy_upstream import TRIGGER_ID, Toy
from tests.kit.until import until

NAMES = ("server", "to-server", "caller", "gateway")
SHOP = "spiffe://example.org/shop"


@dataclass
class World:
    """A toy server with TLS, its certificate, and a gateway in front of it."""

    folder: Path
    port: int
    toy: Toy
    certificate: CertificateOfServer
    said: list[str]
    options: GatewaySettings | None = None

    def context(self, name: str = "caller") -> Any:
        made = trusting()
        made.load_cert_chain(self.folder / f"{name}.pem", self.folder / f"{name}.key")
        return made

    @property
    def url(self) -> str:
        assert self.options
        return f"https://localhost:{self.options.port}"


def server_settings(folder: Path, port: int, **more: Any) -> ServerSettings:
    return ServerSettings(
        listen=f"127.0.0.1:{port}",
        **{
            "tls_certificate": f"{folder}/server.pem",
            "tls_key": f"{folder}/server.key",
            "tls_client_ca": f"{folder}/ca.pem",
            **more,
        },
    )


def gateway_settings(folder: Path, port: int, **more: Any) -> GatewaySettings:
    return options_for(
        folder,
        f"127.0.0.1:{port}",
        **{
            "tls_certificate": f"{folder}/gateway.pem",
            "tls_key": f"{folder}/gateway.key",
            "tls_client_ca": f"{folder}/ca.pem",
            "server_tls_ca": f"{folder}/ca.pem",
            "server_tls_certificate": f"{folder}/to-server.pem",
            "server_tls_key": f"{folder}/to-server.key",
            **more,
        },
    )


@asynccontextmanager
async def world() -> AsyncIterator[World]:
    async with short_folder() as folder:
        CA.cert_pem.write_to_path(folder / "ca.pem")
        for name in NAMES:
            issue(folder, name)
        issue_for(folder, "caller", x509.UniformResourceIdentifier(SHOP), x509.DNSName("shop.internal"))
        port = free_port()
        certificate = certificate_of_server(server_settings(folder, port))
        assert certificate
        watching = asyncio.create_task(certificate.watch())
        try:
            async with toy_upstream.running(f"127.0.0.1:{port}", certificate.credentials()) as toy:
                yield World(folder, port, toy, certificate, [])
        finally:
            watching.cancel()


@asynccontextmanager
async def gateway_of(found: World, **more: Any) -> AsyncIterator[World]:
    found.options = gateway_settings(found.folder, found.port, **more)
    async with running(found.options, workdir=found.folder, notify=found.said.append):
        async with http_client(found.url, verify=trusting()) as client:
            await until(lambda: _accepts(client), lambda: f"a call is accepted; {found.said}")
        yield found


async def _accepts(client: httpx.AsyncClient) -> bool:
    return (await trigger(client)).status_code == 204


@pytest.fixture(scope="module")
async def behind() -> AsyncIterator[World]:
    async with world() as found, gateway_of(found) as with_gateway:
        yield with_gateway


FORGED = {
    "x-clarion-certificate": "uri:spiffe://example.org/victim",
    "x-forwarded-client-cert": "Hash=1;URI=spiffe://example.org/victim",
    "X-Clarion-Certificate-": "x",
    "x_clarion_certificate": "uri:spiffe://example.org/victim",
}


@pytest.mark.parametrize("http2", [False, True])
async def test_servers_get_the_names_of_the_certificate(behind: World, http2: bool) -> None:  # noqa: FBT001
    async with http_client(behind.url, verify=behind.context(), http1=not http2, http2=http2) as client:
        answer = await client.post(
            "/api/client/campaigns/44/trigger",
            json={"user": {"external_id": "u", "email": "test@test.com"}},
            headers=FORGED,
        )
    assert answer.status_code == 204, answer.text
    own = x509.load_pem_x509_certificate((behind.folder / "caller.pem").read_bytes())
    found = behind.toy.metadata["x-clarion-certificate"]
    fingerprint = own.fingerprint(hashes.SHA256()).hex()
    assert found == f"sha256:{fingerprint},uri:{SHOP},dns:shop.internal"
    assert "victim" not in str(behind.toy.metadata)


async def test_forged_names_are_removed_with_a_key(behind: World) -> None:
    for context in (trusting(), behind.context()):
        async with http_client(behind.url, verify=context) as client:
            answer = await trigger(client, headers={**KEY, **JSON, **FORGED})
        assert answer.status_code == 204
        assert "victim" not in str(behind.toy.metadata)
        assert "x-clarion-certificate" not in behind.toy.metadata


async def test_forged_names_are_removed_over_grpc(behind: World) -> None:
    assert behind.options
    target = f"localhost:{behind.options.port}"
    files = [(behind.folder / f"caller.{end}").read_bytes() for end in ("key", "pem")]
    for pair in ([], files):
        credentials = grpc.ssl_channel_credentials(CA.cert_pem.bytes(), *pair)
        async with grpc.aio.secure_channel(target, credentials) as channel:
            assert await call(channel) == TRIGGER_ID


async def test_no_certificate_and_no_key_is_refused(behind: World) -> None:
    async with http_client(behind.url, verify=trusting()) as client:
        answer = await client.post("/api/client/campaigns/44/trigger", json={})
        assert (answer.status_code, answer.json()["details"][0]["reason"]) == (401, "CREDENTIALS_MISSING")
    async with http_client(behind.url, verify=behind.context()) as client:
        answer = await client.post(
            "/api/client/campaigns/44/trigger", json={}, headers={"authorization": "x"}
        )
        assert (answer.status_code, answer.json()["details"][0]["reason"]) == (401, "CREDENTIALS_INVALID")
        answer = await client.get("/api/admin/v1/keys")
        assert (answer.status_code, answer.json()["details"][0]["reason"]) == (401, "CREDENTIALS_MISSING")


@pytest.mark.parametrize(
    ("ca", "valid"), [(trustme.CA(), (-1, 30)), (CA, (-3, -1)), (CA, (1, 3))], ids=["other", "old", "future"]
)
async def test_invalid_certificates_of_callers_are_refused(
    behind: World, ca: trustme.CA, valid: tuple[int, int]
) -> None:
    issue_for(behind.folder, "bad", x509.DNSName("shop.internal"), ca=ca, valid=valid)
    async with http_client(behind.url, verify=behind.context("bad")) as client:
        with pytest.raises((httpx.TransportError, ssl.SSLError)):
            await trigger(client)


async def test_only_gateways_can_connect_to_a_server(behind: World) -> None:
    other = trustme.CA().issue_cert("localhost")
    pair = other.private_key_pem.bytes(), other.cert_chain_pems[0].bytes()
    target = f"localhost:{behind.port}"
    async with grpc.aio.insecure_channel(target) as plain:
        with pytest.raises(grpc.aio.AioRpcError):
            await call(plain)
    for credentials in (
        grpc.ssl_channel_credentials(CA.cert_pem.bytes()),
        grpc.ssl_channel_credentials(CA.cert_pem.bytes(), *pair),
    ):
        async with grpc.aio.secure_channel(target, credentials) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call(channel)
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_health_check_of_the_machine_uses_tls(behind: World) -> None:
    settings = server_settings(behind.folder, behind.port)
    assert await _serving(settings, settings.listen) == ""


async def test_gateway_refuses_a_server_of_another_name(behind: World) -> None:
    async with short_folder() as folder:
        options = gateway_settings(
            behind.folder, behind.port, server_tls_name="other.internal", admin_socket=f"{folder}/admin.sock"
        )
        async with (
            running(options, workdir=folder),
            http_client(f"https://localhost:{options.port}", verify=trusting()) as client,
        ):
            assert (await trigger(client)).status_code == 503


async def test_portal_calls_servers_by_tls_and_renews(behind: World) -> None:
    settings = PortalSettings(
        servers=(f"localhost:{behind.port}",),
        server_tls_ca=f"{behind.folder}/ca.pem",
        server_tls_certificate=f"{behind.folder}/to-server.pem",
        server_tls_key=f"{behind.folder}/to-server.key",
    )
    certificate = certificate_for_servers(settings)
    api = AdminApi(settings.servers, certificate)
    assert certificate
    first = await api._reachable()
    assert await call(first) == TRIGGER_ID
    assert await api._reachable() is first
    watching = asyncio.create_task(certificate.watch())
    try:
        used = certificate.current()
        issue(behind.folder, "to-server")
        await until(lambda: certificate.current() is not used, "the new certificate")
        second = await api._reachable()
        assert second is not first
        assert await call(second) == TRIGGER_ID
    finally:
        watching.cancel()
        await api.close()


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
