"""TLS with the operator's own certificate, on a real Envoy; certificates are made here."""

from __future__ import annotations

import asyncio
import datetime as dt
import ssl
import stat
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import httpx
import psutil
import pytest

from clarion_client import Accepted, AsyncClient, Client, Email, TimedOut, Unavailable
from gateway import Gateway, GatewayError, GatewaySettings, check_tls, render, running, wait_ready
from tests.kit import toy_upstream
from tests.kit.gateway_process import TOY, call, short_folder, trigger
from tests.kit.http_client import http_client
from tests.kit.tls import CA, issue, tls, trusting
from tests.kit.toy_upstream import TRIGGER_ID
from tests.kit.until import TIMEOUT


@dataclass(frozen=True)
class TlsGateway:
    options: GatewaySettings
    gateway: Gateway
    folder: Path
    said: list[str]

    @property
    def url(self) -> str:
        return f"https://localhost:{self.options.port}"


@pytest.fixture(scope="module")
async def tls_gateway() -> AsyncIterator[TlsGateway]:
    async with short_folder() as folder, toy_upstream.running(f"unix:{folder / TOY}"):
        issue(folder)
        options, said = tls(folder), list[str]()
        async with running(options, workdir=folder, notify=said.append) as gateway:
            yield TlsGateway(options, gateway, folder, said)


@pytest.mark.parametrize("http2", [False, True])
async def test_rest_is_served_over_http1_and_http2(tls_gateway: TlsGateway, http2: bool) -> None:  # noqa: FBT001
    async with http_client(tls_gateway.url, verify=trusting(), http1=not http2, http2=http2) as client:
        answer = await trigger(client)
    assert answer.status_code == 204
    assert answer.http_version == ("HTTP/2" if http2 else "HTTP/1.1")


async def test_grpc_is_served_on_the_same_port(tls_gateway: TlsGateway) -> None:
    credentials = grpc.ssl_channel_credentials(CA.cert_pem.bytes())
    target = f"localhost:{tls_gateway.options.port}"
    async with grpc.aio.secure_channel(target, credentials) as channel:
        assert await call(channel) == TRIGGER_ID


@pytest.mark.parametrize("kind", [Client, AsyncClient])
async def test_client_trusts_only_its_ca_file(
    tls_gateway: TlsGateway, kind: type[Client] | type[AsyncClient]
) -> None:
    CA.cert_pem.write_to_path(tls_gateway.folder / "ca.pem")
    url, key = f"https://127.0.0.1:{tls_gateway.options.port}", "sk_dbf68c87-e579-4dac-b083-77fed0294e67"
    accepted = await triggered(kind(url, key, ca_file=tls_gateway.folder / "ca.pem"))
    assert accepted.trigger_id == TRIGGER_ID
    with pytest.raises((Unavailable, TimedOut), match="No trusted TLS connection to https://127"):
        await triggered(kind(url, key, timeout=3))


async def triggered(client: Client | AsyncClient) -> Accepted:
    """Trigger an email by the client, and close it."""
    message = Email(44, external_id="u", email="test@test.com")
    if isinstance(client, AsyncClient):
        async with client:
            return await client.trigger(message)
    with client:
        return await asyncio.to_thread(client.trigger, message)


async def test_plain_http_is_not_served(tls_gateway: TlsGateway) -> None:
    async with http_client(tls_gateway.url.replace("https", "http")) as client:
        with pytest.raises(httpx.TransportError):
            await trigger(client)


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
async def test_oldest_tls_version_is_1_2(tls_gateway: TlsGateway) -> None:
    for version, works in ((ssl.TLSVersion.TLSv1_1, False), (ssl.TLSVersion.TLSv1_2, True)):
        context = trusting()
        context.set_ciphers("DEFAULT@SECLEVEL=0")  # or our own side would refuse 1.1
        context.minimum_version = context.maximum_version = version
        connecting = asyncio.open_connection("localhost", tls_gateway.options.port, ssl=context)
        if works:
            (await connecting)[1].close()
            continue
        with pytest.raises((ssl.SSLError, ConnectionError), match=r"(?i)protocol.version"):
            await connecting


async def test_readiness_check_works_over_tls(tls_gateway: TlsGateway) -> None:
    options = tls(tls_gateway.folder, port=tls_gateway.options.port, admin_socket="")
    await wait_ready(options, TIMEOUT)


async def test_private_key_is_only_in_private_files(tls_gateway: TlsGateway) -> None:
    key = (tls_gateway.folder / "pair.key").read_text()
    secret = tls_gateway.folder / "tls.json"
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    printed = render(tls_gateway.options)
    middle = key.splitlines()[2]
    assert middle not in printed
    assert middle in secret.read_text()
    assert not [line for line in tls_gateway.said if middle in line]
    assert middle not in " ".join(psutil.Process(tls_gateway.gateway.pid).cmdline())
    files = [file for file in tls_gateway.folder.iterdir() if file.is_file()]
    left = {file.name for file in files if middle in file.read_text()}
    assert left == {"pair.key", "tls.json"}


def _without_certificate(folder: Path) -> None:
    (folder / "pair.pem").unlink()


def _another_key(folder: Path) -> None:
    (folder / "pair.key").write_bytes(CA.issue_cert("localhost").private_key_pem.bytes())


def _expired(folder: Path) -> None:
    issue(folder, not_after=dt.datetime(2020, 1, 2, tzinfo=dt.UTC), not_before=dt.datetime(2020, 1, 1))  # noqa: DTZ001


def _not_pem(folder: Path) -> None:
    (folder / "pair.pem").write_bytes(b"\x30\x82\xff")


def _encrypted(folder: Path) -> None:
    (folder / "pair.key").write_text("-----BEGIN ENCRYPTED PRIVATE KEY-----\n")


def _a_folder(folder: Path) -> None:
    (folder / "pair.key").unlink()
    (folder / "pair.key").mkdir()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (
            _without_certificate,
            ("tls_certificate: cannot read", "pair.pem", "No such file", "name a PEM file"),
        ),
        (_another_key, ("tls_key: ", "pair.key does not match tls_certificate", "its key")),
        (_expired, ("tls_certificate: ", "pair.pem: certificate has expired", "replace it by a valid one")),
        (_not_pem, ("tls_certificate: ", "pair.pem is not PEM")),
        (_encrypted, ("tls_key: ", "is encrypted", "without a passphrase")),
        (_a_folder, ("tls_key: cannot read", "pair.key: Is a directory")),
    ],
)
async def test_invalid_pair_is_reported_in_one_line(
    tmp_path: Path, spoil: Any, words: tuple[str, ...]
) -> None:
    issue(tmp_path)
    spoil(tmp_path)
    options = tls(tmp_path)
    with pytest.raises(GatewayError) as caught:
        async with running(options, workdir=tmp_path):
            pytest.fail("it runs")
    assert "\n" not in str(caught.value)
    assert "PRIVATE" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)
    with pytest.raises(GatewayError):
        check_tls(options)


@pytest.mark.parametrize("only", ["tls_certificate", "tls_key"])
def test_certificate_and_key_are_set_together(only: str) -> None:
    with pytest.raises(GatewayError, match="is missing; set both tls_certificate and tls_key, or neither"):
        GatewaySettings(**{only: "/x"})  # type: ignore[arg-type]
