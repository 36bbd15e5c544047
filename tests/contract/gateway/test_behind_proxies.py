"""The configurations of `docs/how-to/run-behind-a-proxy.md`, in a real nginx and HAProxy where installed."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import httpx
import pytest
import trustme

from clarion.v1 import trigger_pb2
from tests.kit.gateway import JSON, KEY, ToyStack, running_toy_stack, trigger
from tests.kit.stack import free_port
from tests.kit.toy_upstream import TRIGGER_ID
from tests.kit.until import until

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs/how-to/run-behind-a-proxy.md"
CA = trustme.CA()
NGINX = """{user} daemon off; pid {folder}/pid; error_log stderr; events {{}}
http {{
access_log off; {temporary}
{example}
}}
"""
TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


def example(kind: str, stack: ToyStack, port: int, folder: Path) -> str:
    """Return the page's example with the addresses and files of this test."""
    found = re.search(rf"```{kind}\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found
    text = found[1].replace("10.0.0.5:8080", stack.address)
    return re.sub(r"(listen |bind :)443", rf"\g<1>{port}", text).replace("/etc/ssl", str(folder))


def command_of(kind: str, stack: ToyStack, port: int, folder: Path) -> list[str]:
    text = example(kind, stack, port, folder)
    config = folder / "config"
    if kind == "haproxy":
        config.write_text(text)
        return ["haproxy", "-f", str(config)]
    temporary = " ".join(f"{name}_temp_path {folder}/{name};" for name in TEMPORARY)
    user = "user root;" if os.geteuid() == 0 else ""  # root's workers cannot enter a test's folder otherwise
    config.write_text(NGINX.format(user=user, folder=folder, temporary=temporary, example=text))
    return ["nginx", "-p", str(folder), "-e", "stderr", "-c", str(config)]


@asynccontextmanager
async def proxied(kind: str, folder: Path) -> AsyncIterator[tuple[ToyStack, int]]:
    """Run a toy stack behind the page's proxy; yield it with the proxy's port."""
    if shutil.which(kind) is None:
        pytest.skip(f"{kind} is not installed")
    port = free_port()
    pair = CA.issue_cert("localhost")
    pair.private_key_pem.write_to_path(folder / "clarion.key")
    both = pair.private_key_and_cert_chain_pem  # as HAProxy needs it
    both.write_to_path(folder / "clarion.pem")
    async with running_toy_stack(trusted_proxies=1) as stack:
        process = await asyncio.create_subprocess_exec(*command_of(kind, stack, port, folder))
        try:
            yield stack, port
        finally:
            process.terminate()
            await process.wait()


@pytest.mark.parametrize("kind", ["nginx", "haproxy"])
async def test_documented_proxy_passes_all_calls(kind: str, tmp_path: Path) -> None:
    async with proxied(kind, tmp_path) as (stack, port):
        trusted = ssl.create_default_context()
        CA.configure_trust(trusted)
        url = f"https://localhost:{port}"
        async with httpx.AsyncClient(base_url=url, verify=trusted, http2=True, timeout=20) as client:

            async def is_ready() -> bool:
                try:
                    return (await client.get("/readyz")).status_code == 200
                except httpx.TransportError:
                    return False

            await until(is_ready, f"{kind} answers")
            forged = {**KEY, **JSON, "x-forwarded-for": "192.0.2.1"}
            answer = await trigger(client, headers=forged)
            assert (answer.status_code, answer.headers["x-trigger-id"]) == (204, TRIGGER_ID)
            assert "x-forwarded-for" not in stack.toy.metadata
            for path in ("triggers:batch", "triggers%3Abatch"):
                body = b'{"a": "%s"}' % (b"x" * 1_500_000)
                batch = await client.post(f"/api/client/{path}", content=body, headers={**KEY, **JSON})
                assert (batch.status_code, batch.content) == (200, body)
            await check_grpc(port)


async def check_grpc(port: int) -> None:
    """Make a call of native gRPC."""
    credentials = grpc.ssl_channel_credentials(CA.cert_pem.bytes())
    async with grpc.aio.secure_channel(f"localhost:{port}", credentials) as channel:
        method = channel.unary_unary(
            "/clarion.v1.TriggerService/TriggerEmail",
            request_serializer=trigger_pb2.TriggerEmailRequest.SerializeToString,
            response_deserializer=trigger_pb2.TriggerEmailResponse.FromString,
        )
        answer = await method(trigger_pb2.TriggerEmailRequest(), metadata=list(KEY.items()), timeout=20)
    assert answer.trigger_id == TRIGGER_ID
