"""gRPC-Web, binary and text, by hand-made requests over HTTP/1.1 and HTTP/2."""

from __future__ import annotations

import base64
import re
import struct
from collections.abc import Iterator

import grpc
import httpx
import pytest
from google.api import httpbody_pb2
from google.rpc import error_details_pb2, status_pb2

from clarion.v1 import trigger_pb2
from tests.kit.cases import each_case
from tests.kit.gateway import KEY, TRIGGER, running_toy_stack
from tests.kit.http_client import http_client
from tests.kit.toy_upstream import TRIGGER_ID

BINARY, TEXT = "application/grpc-web+proto", "application/grpc-web-text+proto"
TRAILERS = 0x80


def frames(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield each frame's first byte and what it holds."""
    while data:
        kind, length = struct.unpack(">BI", data[:5])
        yield kind, data[5 : 5 + length]
        data = data[5 + length :]


def decoded(text: bytes) -> bytes:
    """Decode what is encoded, and padded, piece by piece."""
    return b"".join(map(base64.b64decode, re.findall(rb"[^=]+=*", text)))


async def ask(
    client: httpx.AsyncClient, campaign: str, kind: str = BINARY, path: str = TRIGGER
) -> tuple[bytes, dict[str, str]]:
    """Call; return the message and the trailers, which are in the headers if there is no message."""
    body = httpbody_pb2.HttpBody(data=b"{}")
    message = trigger_pb2.TriggerCampaignRequest(campaign_id=campaign, body=body).SerializeToString()
    frame = struct.pack(">BI", 0, len(message)) + message
    sent = base64.b64encode(frame) if kind == TEXT else frame
    answer = await client.post(path, content=sent, headers={**KEY, "content-type": kind, "accept": kind})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == kind
    assert not [name for name in answer.headers if name.startswith("x-envoy-")]
    data = decoded(answer.content) if kind == TEXT else answer.content
    found, trailers = b"", dict(answer.headers)
    for first, content in frames(data):
        if first & TRAILERS:
            lines = content.decode().split("\r\n")
            trailers |= {name: value for name, _, value in (line.partition(":") for line in lines if line)}
        else:
            found += content
    return found, trailers


def rich(trailers: dict[str, str]) -> tuple[int, str]:
    """Return code and reason of the rich details, after a check that they agree with the plain ones."""
    binary = trailers["grpc-status-details-bin"]
    status = status_pb2.Status.FromString(base64.b64decode(binary + "=" * (-len(binary) % 4)))
    assert (str(status.code), status.message) == (trailers["grpc-status"], trailers["grpc-message"])
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    return status.code, info.reason


@pytest.mark.parametrize("kind", [BINARY, TEXT])
async def test_valid_call_has_message_and_trailers(client: httpx.AsyncClient, kind: str) -> None:
    message, trailers = await ask(client, "44", kind)
    assert trigger_pb2.TriggerCampaignResponse.FromString(message).trigger_id == TRIGGER_ID
    assert trailers["grpc-status"] == "0"


@each_case("kind", [BINARY, TEXT])
@each_case(
    ("campaign", "code", "reason"),
    [
        ("bad", grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST"),
        ("limited", grpc.StatusCode.RESOURCE_EXHAUSTED, "RATE_LIMITED"),
    ],
)
async def test_errors_keep_their_details(
    client: httpx.AsyncClient, kind: str, campaign: str, code: grpc.StatusCode, reason: str
) -> None:
    _, trailers = await ask(client, campaign, kind)
    assert rich(trailers) == (code.value[0], reason)
    assert trailers.get("retry-after") == ("7" if campaign == "limited" else None)


@each_case("kind", [BINARY, TEXT])
async def test_slow_server_is_deadline_exceeded(impatient_client: httpx.AsyncClient, kind: str) -> None:
    _, trailers = await ask(impatient_client, "sleep", kind)
    assert rich(trailers) == (grpc.StatusCode.DEADLINE_EXCEEDED.value[0], "TIMED_OUT")


async def test_unknown_method_is_unimplemented(client: httpx.AsyncClient) -> None:
    _, trailers = await ask(client, "44", path="/clarion.v1.Nothing/AtAll")
    assert int(trailers["grpc-status"]) == grpc.StatusCode.UNIMPLEMENTED.value[0]


async def test_gateway_errors_have_details() -> None:
    async with (
        running_toy_stack() as toy_stack,
        http_client(f"http://{toy_stack.address}") as client,
    ):
        await toy_stack.toy.stop()
        _, trailers = await ask(client, "44")
        assert rich(trailers) == (grpc.StatusCode.UNAVAILABLE.value[0], "SERVER_UNAVAILABLE")
        assert trailers["retry-after"] == "1"
