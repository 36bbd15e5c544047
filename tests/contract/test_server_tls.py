"""Mutual TLS between the gateway and servers, with a real Envoy and the servers' own credentials."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator

import grpc
import httpx
import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from gateway import running
from portal import PortalSettings
from portal.api import AdminApi
from server.process.local_health import _serving
from server.wiring.certificates import certificate_for_servers
from tests.kit.gateway import JSON, KEY, trigger
from tests.kit.gateway_process import call, short_folder
from tests.kit.http_client import http_client
from tests.kit.server_tls import SHOP, World, gateway_of, gateway_settings, server_settings, world
from tests.kit.tls import CA, issue, issue_for, trusting
from tests.kit.toy_upstream import TRIGGER_ID
from tests.kit.until import until


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
