"""A toy server with TLS and the servers' own credentials, and a real gateway that calls it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from cryptography import x509

from gateway import GatewaySettings, running
from lab.process import free_port
from server.config import ServerSettings
from server.wiring.certificates import CertificateOfServer, certificate_of_server
from tests.kit import toy_upstream
from tests.kit.gateway import options_for, trigger
from tests.kit.gateway_process import short_folder
from tests.kit.http_client import http_client
from tests.kit.tls import CA, issue, issue_for, trusting
from tests.kit.toy_upstream import Toy
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
