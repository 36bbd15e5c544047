"""The configurations of `docs/how-to/run-behind-a-proxy.md`, in a real nginx and HAProxy where installed."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import grpc
import httpx
import pytest
import trustme

from clarion.v1 import trigger_pb2
from tests.kit.gateway import JSON, KEY, running_toy_stack, trigger
from tests.kit.http_client import http_client
from tests.kit.stack import free_port
from tests.kit.toy_upstream import TRIGGER_ID
from tests.kit.until import until

PAGE = Path(__file__).parents[3] / "docs/how-to/run-behind-a-proxy.md"
CA = trustme.CA()
NGINX = """{user} daemon off; pid {folder}/pid; error_log stderr; events {{}}
http {{
access_log off; {temporary}
{example}
}}
"""
TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
DEFAULTS_OF_NGINX = "server { listen 443; location / { proxy_pass http://10.0.0.5:8080; } }"
"""By default, nginx requests everything over HTTP/1.0."""


def documented(kind: str) -> str:
    """Return the example in the page."""
    found = re.search(rf"```{kind}\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found
    return found[1]


def command_of(kind: str, example: str, folder: Path) -> list[str]:
    """Return the command that runs a proxy with a configuration."""
    config = folder / "config"
    if kind == "haproxy":
        config.write_text(example)
        return ["haproxy", "-f", str(config)]
    temporary = " ".join(f"{name}_temp_path {folder}/{name};" for name in TEMPORARY)
    user = "user root;" if os.geteuid() == 0 else ""  # root's workers cannot enter a test's folder otherwise
    config.write_text(NGINX.format(user=user, folder=folder, temporary=temporary, example=example))
    return ["nginx", "-p", str(folder), "-e", "stderr", "-c", str(config)]


@asynccontextmanager
async def proxied(kind: str, example: str, folder: Path) -> AsyncIterator[int]:
    """Run a toy stack behind a proxy; yield the proxy's port.

    Args:
        kind: The proxy's command.
        example: Its configuration, with the addresses and files of the page.
        folder: An empty folder.
    """
    if shutil.which(kind) is None:
        pytest.skip(f"{kind} is not installed")
    port = free_port()
    pair = CA.issue_cert("localhost")
    pair.private_key_pem.write_to_path(folder / "clarion.key")
    pair.private_key_and_cert_chain_pem.write_to_path(folder / "clarion.pem")  # with the key, for HAProxy
    async with running_toy_stack(trusted_proxies=1) as stack:
        here = example.replace("10.0.0.5:8080", stack.address).replace("/etc/ssl", str(folder))
        here = re.sub(r"(listen |bind :)443", rf"\g<1>{port}", here)
        process = await asyncio.create_subprocess_exec(*command_of(kind, here, folder))
        try:
            yield port
        finally:
            process.terminate()
            await process.wait()


async def is_ready(client: httpx.AsyncClient) -> bool:
    try:
        return (await client.get("/readyz")).status_code == 200
    except httpx.TransportError:
        return False


@pytest.mark.parametrize("kind", ["nginx", "haproxy"])
async def test_documented_proxy_passes_all_calls(kind: str, tmp_path: Path) -> None:
    trusted = ssl.create_default_context()
    CA.configure_trust(trusted)
    async with (
        proxied(kind, documented(kind), tmp_path) as port,
        http_client(f"https://localhost:{port}", verify=trusted) as client,
    ):
        await until(partial(is_ready, client), f"{kind} answers")
        assert (await trigger(client)).headers["x-trigger-id"] == TRIGGER_ID
        for path in ("triggers:batch", "triggers%3Abatch"):
            body = b'{"a": "%s"}' % (b"x" * 1_500_000)
            batch = await client.post(f"/api/client/{path}", content=body, headers={**KEY, **JSON})
            assert (batch.status_code, batch.content) == (200, body)
        await check_grpc(port)


async def test_nginx_without_settings_passes_rest_calls(tmp_path: Path) -> None:
    async with (
        proxied("nginx", DEFAULTS_OF_NGINX, tmp_path) as port,
        http_client(f"http://localhost:{port}") as client,
    ):
        await until(partial(is_ready, client), "nginx answers")
        assert (await trigger(client)).headers["x-trigger-id"] == TRIGGER_ID
        listed = await client.get("/api/client/campaigns?page_size=1000", headers=KEY)
        assert len(listed.json()["campaigns"]) == 1000


async def check_grpc(port: int) -> None:
    """Make a call of native gRPC."""
    credentials = grpc.ssl_channel_credentials(CA.cert_pem.bytes())
    async with grpc.aio.secure_channel(f"localhost:{port}", credentials) as channel:
        method = channel.unary_unary(
            "/clarion.v1.TriggerService/TriggerEmail",
            request_serializer=trigger_pb2.TriggerEmailRequest.SerializeToString,
            response_deserializer=trigger_pb2.TriggerEmailResponse.FromString,
        )
        answer = await method(trigger_pb2.TriggerEmailRequest(), metadata=list(KEY.items()), timeout=60)
    assert answer.trigger_id == TRIGGER_ID
