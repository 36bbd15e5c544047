"""HTTP/1.0, which nginx and the health checks of HAProxy send by default."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.kit.gateway import KEY, ToyStack
from tests.kit.toy_upstream import TRIGGER_ID

TRIGGER = b"POST /api/client/campaigns/44/trigger HTTP/1.0\r\n"
AUTHORIZED = f"authorization: {KEY['authorization']}\r\n".encode()
JSON = b"content-type: application/json\r\ncontent-length: 2\r\n"


async def ask(toy_stack: ToyStack, words: bytes) -> tuple[bytes, dict[str, str], bytes]:
    """Send bytes as they are; return status line, headers and body up to the end of the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", toy_stack.options.port)
    try:
        writer.write(words)
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    finally:
        writer.close()
    first, *lines = head.split(b"\r\n")
    pairs = (line.decode().split(": ", 1) for line in lines)
    return first, {name.lower(): value for name, value in pairs}, body


@pytest.mark.parametrize("host", [b"", b"host: a\r\n"])
@pytest.mark.parametrize("path", [b"/healthz", b"/readyz"])
@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
async def test_health_paths_answer_http10(
    toy_stack: ToyStack, method: bytes, path: bytes, host: bytes
) -> None:
    status, headers, body = await ask(toy_stack, b"%s %s HTTP/1.0\r\n%s\r\n" % (method, path, host))
    assert (status, body) == (b"HTTP/1.0 200 OK", b"")
    assert "transfer-encoding" not in headers


@pytest.mark.parametrize("host", [b"", b"host: a\r\n"])
async def test_trigger_by_http10_is_accepted(toy_stack: ToyStack, host: bytes) -> None:
    words = TRIGGER + host + AUTHORIZED + JSON + b"\r\n{}"
    status, headers, body = await ask(toy_stack, words)
    assert (status, headers["x-trigger-id"], body) == (b"HTTP/1.0 204 No Content", TRIGGER_ID, b"")


async def test_response_by_http10_is_not_chunked(toy_stack: ToyStack) -> None:
    words = b"GET /api/client/campaigns?page_size=2 HTTP/1.0\r\n" + AUTHORIZED + b"\r\n"
    status, headers, body = await ask(toy_stack, words)
    assert (status, "transfer-encoding" in headers) == (b"HTTP/1.0 200 OK", False)
    assert len(json.loads(body)["campaigns"]) == 2


@pytest.mark.parametrize(
    ("more", "status", "reason"),
    [
        (b"", b"401", "CREDENTIALS_MISSING"),
        (AUTHORIZED + b"content-type: text/plain\r\n", b"415", "CONTENT_TYPE_UNSUPPORTED"),
        (
            AUTHORIZED + b"content-type: application/json\r\ncontent-length: 70000\r\n",
            b"413",
            "BODY_TOO_LARGE",
        ),
        (b"transfer-encoding: chunked\r\ncontent-length: 2\r\n", b"400", "HTTP_REFUSED"),
    ],
)
async def test_http10_has_the_usual_refusals(
    toy_stack: ToyStack, more: bytes, status: bytes, reason: str
) -> None:
    first, _, body = await ask(toy_stack, TRIGGER + more + b"\r\n")
    assert first.split()[1] == status
    assert json.loads(body)["details"][0]["reason"] == reason


async def test_incomplete_http10_body_is_408(impatient: ToyStack) -> None:
    head = TRIGGER + AUTHORIZED + b"content-type: application/json\r\ncontent-length: 9\r\n\r\n"
    first, _, body = await ask(impatient, head)
    assert first.split()[1] == b"408"
    assert json.loads(body)["details"][0]["reason"] == "REQUEST_TOO_SLOW"


@pytest.mark.parametrize("wish", [b"", b"connection: keep-alive\r\n"])
async def test_http10_connection_ends_with_the_response(toy_stack: ToyStack, wish: bytes) -> None:
    """So what follows a request, such as a body whose length the two sides judge differently, is not read."""
    before = toy_stack.toy.calls
    call = TRIGGER + wish + AUTHORIZED + JSON + b"\r\n{}"
    status, headers, body = await ask(toy_stack, call + call)
    assert (status.split()[1], headers["connection"], body) == (b"204", "close", b"")
    assert toy_stack.toy.calls == before + 1
