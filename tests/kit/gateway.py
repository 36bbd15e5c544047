"""A real Envoy in front of a toy server, and the two kinds of callers."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from unittest.mock import patch

import grpc
import httpx
import pytest
from google.api import httpbody_pb2
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from clarion.v1 import trigger_pb2, trigger_pb2_grpc
from gateway import Gateway, GatewaySettings, running
from gateway.config import cluster
from tests.kit import toy_upstream
from tests.kit.http_client import PATIENCE, http_client
from tests.kit.stack import free_port
from tests.kit.toy_upstream import Toy
from tests.kit.until import until

__all__ = [
    "IMPATIENT",
    "JSON",
    "KEY",
    "POST",
    "TRIGGER",
    "ToyStack",
    "call",
    "grpc_error",
    "hidden",
    "options_for",
    "refused",
    "rich_reason",
    "running_toy_stack",
    "say",
    "trigger",
    "trigger_path",
    "until_calls",
    "until_readyz_says",
]

KEY = {"authorization": "Bearer sk_dbf68c87-e579-4dac-b083-77fed0294e67"}
JSON = {"content-type": "application/json"}
ERROR_INFO = "type.googleapis.com/google.rpc.ErrorInfo"
TRIGGER = "/clarion.v1.TriggerService/TriggerCampaign"
IMPATIENT: dict[str, Any] = {"request_timeout": 1.0, "header_timeout": 0.5, "body_timeout": 0.5}
"""Options with which every time limit ends soon: only for calls that must exceed one. That of a body is the
shortest, so that a call which exceeds all of them always gets the same answer."""
POST = (
    b"POST /api/client/campaigns/44/trigger HTTP/1.1\r\nhost: a\r\n"
    b"authorization: Bearer sk_dbf68c87-e579-4dac-b083-77fed0294e67\r\n"
)


_health_check = cluster._health_check


@dataclass(frozen=True)
class ToyStack:
    """A gateway with a healthy server behind it."""

    options: GatewaySettings
    gateway: Gateway
    toy: Toy

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.options.port}"


def options_for(folder: Path, *upstreams: str, **more: Any) -> GatewaySettings:
    """Return options for a gateway in this folder, which by default waits for callers and servers."""
    chosen: dict[str, Any] = {
        "port": free_port(),
        "upstreams": upstreams,
        "admin_socket": str(folder / "admin.sock"),
        "threads": 1,
        "request_timeout": PATIENCE,
        "header_timeout": PATIENCE,
        "body_timeout": PATIENCE,
        "drain_grace": 0.0,
        "latency_target": 10.0,
    }
    return GatewaySettings(**{**chosen, **more})


@contextlib.asynccontextmanager
async def running_toy_stack(**more: Any) -> AsyncIterator[ToyStack]:
    """Run a gateway and its server for the block."""
    with tempfile.TemporaryDirectory() as path:  # short enough for a Unix socket
        folder = Path(path)
        address = f"unix:{folder}/server.sock"
        options = options_for(folder, address, **more)
        async with contextlib.AsyncExitStack() as closing:
            toy = await closing.enter_async_context(toy_upstream.running(address))
            with patch.object(cluster, "_health_check", _patient_health_check):
                gateway = await closing.enter_async_context(running(options, workdir=folder))
            await until_readyz_says(200, options)
            yield ToyStack(options, gateway, toy)


def _patient_health_check(_: float, service: str = "") -> dict[str, Any]:
    """Wait long for the toy server, which runs in the loop of the tests: they may be busy for seconds."""
    return _health_check(PATIENCE, service)


async def until_readyz_says(status: int, options: GatewaySettings) -> None:
    url = f"http://127.0.0.1:{options.port}/readyz"
    async with http_client() as client:

        async def says_so() -> bool:
            return (await client.get(url)).status_code == status

        await until(says_so, f"/readyz answers {status}")


async def until_calls(toy: Toy, number: int) -> None:
    """Return when the server has received this number of calls."""
    await until(lambda: toy.calls >= number, f"{number} calls at the server")


def trigger_path(campaign: str) -> str:
    return f"/api/client/campaigns/{campaign}/trigger"


async def trigger(client: httpx.AsyncClient, campaign: str = "44", **more: Any) -> httpx.Response:
    sent = {"content": b'{"user": {},}', "headers": {**KEY, **JSON}, **more}
    return await client.post(trigger_path(campaign), **sent)


def refused(answer: httpx.Response, status: int, reason: str) -> dict[str, Any]:
    """Check the shape of an error and return it."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert not hidden(answer)
    body: dict[str, Any] = answer.json()
    infos = [detail for detail in body["details"] if detail["@type"] == ERROR_INFO]
    assert [(info["reason"], info["domain"]) for info in infos] == [(reason, "clarion")]
    assert body["message"]
    return body


def hidden(answer: httpx.Response) -> list[str]:
    """Return the internal headers that must not reach a caller."""
    return [name for name in answer.headers if name.startswith(("grpc-", "x-envoy-"))]


async def say(toy_stack: ToyStack, words: bytes) -> tuple[int, dict[str, Any]]:
    """Send bytes as they are; return the status and the JSON body of the answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", toy_stack.options.port)
    try:
        writer.write(words)
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.partition("content-length: ")[2].split("\r\n")[0])
        answer = httpx.Response(int(head.split()[1]), content=await reader.readexactly(length))
    finally:
        writer.close()
    return answer.status_code, answer.json()


def call(channel: grpc.aio.Channel, campaign: str, **more: Any) -> Any:
    body = httpbody_pb2.HttpBody(data=b"{}")
    request = trigger_pb2.TriggerCampaignRequest(campaign_id=campaign, body=body)
    return trigger_pb2_grpc.TriggerServiceStub(channel).TriggerCampaign(request, **more)


async def grpc_error(calling: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await calling
    return caught.value


def rich_reason(error: grpc.aio.AioRpcError) -> str:
    """Return the reason in the rich details, after a check that code and message are those of the status."""
    status = rpc_status.from_call(cast("grpc.Call", error))  # raises if they differ
    assert status is not None
    detail = status.details[0]
    info = error_details_pb2.ErrorInfo()
    assert detail.Unpack(info)
    assert info.domain == "clarion"
    return str(info.reason)
