"""Malformed, oversized, slow and greedy callers: each is bounded, and gets a reason where HTTP allows one."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from h2.settings import SettingCodes

from tests.kit.cases import each_case
from tests.kit.gateway import JSON, KEY, POST, ToyStack, refused, say, trigger
from tests.kit.raw_http2 import Caller, headers, http2


@each_case(
    ("words", "status", "reason"),
    [
        (b"nonsense\r\n\r\n", 400, "HTTP_REFUSED"),
        (b"GET / HTTP/1.1\r\n\r\n", 400, "HTTP_REFUSED"),
        (b"GET /api/%2f HTTP/1.1\r\nhost: a\r\n\r\n", 400, "HTTP_REFUSED"),
        (POST + b"content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", 400, "HTTP_REFUSED"),
        (b"GET / HTTP/1.1\r\nhost: a\r\nx: " + b"v" * 40_000 + b"\r\n\r\n", 431, "HTTP_REFUSED"),
        (b"GET / HTTP/1.1\r\nhost: a\r\n" + b"x: v\r\n" * 101 + b"\r\n", 431, "HTTP_REFUSED"),
        (POST + b"content-type: application/json\r\ntransfer-encoding: gzip\r\n\r\n{}", 400, "HTTP_REFUSED"),
        (
            POST + b"content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\nz\r\n",
            400,
            "HTTP_REFUSED",
        ),
        (POST + b"x: a\0b\r\ncontent-length: 2\r\n\r\n{}", 400, "HTTP_REFUSED"),
        (
            b"GET / HTTP/1.1\r\nhost: a\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n",
            403,
            "HTTP_REFUSED",
        ),
        (b"CONNECT a:1 HTTP/1.1\r\nhost: a\r\n\r\n", 404, "PATH_NOT_FOUND"),
        (b"OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n", 404, "PATH_NOT_FOUND"),
    ],
)
async def test_broken_http_has_the_usual_error_shape(
    toy_stack: ToyStack, words: bytes, status: int, reason: str
) -> None:
    answered, body = await say(toy_stack, words)
    assert (answered, body["details"][0]["reason"]) == (status, reason)


@each_case(
    "words",
    [
        b"GET / HTTP/1.1\r\nhost: a\r\nslow",
        POST + b"content-type: application/json\r\ncontent-length: 9\r\n\r\n{",
    ],
)
async def test_slow_request_is_408(impatient: ToyStack, words: bytes) -> None:
    answered, body = await say(impatient, words)
    assert (answered, body["details"][0]["reason"]) == (408, "REQUEST_TOO_SLOW")


@pytest.mark.parametrize(
    "framing", [b"content-length: 10000000\r\n\r\n", b"transfer-encoding: chunked\r\n\r\n989680\r\n"]
)
async def test_body_of_ten_megabytes_is_413_at_the_gateway(toy_stack: ToyStack, framing: bytes) -> None:
    before = toy_stack.toy.calls
    words = POST + b"content-type: application/json\r\n" + framing + b"x" * 10_000_000
    status, body = await say(toy_stack, words)
    assert (status, body["details"][0]["reason"]) == (413, "BODY_TOO_LARGE")
    assert toy_stack.toy.calls == before


@each_case("body", [b"hello", b"[]", b'{"page_size": "x"}'])
@each_case("method", ["GET", "HEAD"])
async def test_body_of_a_read_is_422(client: httpx.AsyncClient, method: str, body: bytes) -> None:
    answer = await client.request(method, "/api/client/triggers", headers=KEY, content=body)
    assert answer.status_code == 422
    if method == "GET":
        assert refused(answer, 422, "INVALID_REQUEST")["message"].startswith(
            "1 violation: body: is not accepted"
        )


GOOD = POST + b"content-type: application/json\r\ncontent-length: 2\r\n\r\n{}"


async def test_http2_rest_response_has_no_trailers(toy_stack: ToyStack) -> None:
    async with http2(toy_stack) as caller:
        caller.machine.send_headers(1, headers())
        caller.machine.send_data(1, b"{}", end_stream=True)
        caller.send()
        received = await caller.until("ended")
    assert received.headers[":status"] == "204"
    assert not [name for name in received.headers if name.startswith("grpc-")]


async def test_pipelined_requests_are_answered_in_order(toy_stack: ToyStack) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", toy_stack.options.port)
    writer.write(GOOD * 3)
    for _ in range(3):
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 204 ")
    writer.close()


async def test_endless_http2_body_is_408(impatient: ToyStack) -> None:
    async with http2(impatient) as caller:
        caller.machine.send_headers(1, headers())
        caller.machine.send_data(1, b"{")
        caller.send()
        received = await caller.until("ended")
    refused(
        httpx.Response(408, headers=plain(received.headers), content=received.body), 408, "REQUEST_TOO_SLOW"
    )
    assert received.headers[":status"] == "408"


async def test_endless_http2_headers_are_408(impatient: ToyStack) -> None:
    async with http2(impatient) as caller:
        caller.send()
        await caller.until("settings")
        caller.machine.send_headers(1, headers(), end_stream=True)
        caller.send_without_end_of_headers()
        received = await caller.until("ended", answering=False)
    assert received.headers[":status"] == "408"
    assert b'"REQUEST_TOO_SLOW"' in received.body


def plain(headers: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if not name.startswith(":")}


async def test_headers_up_to_the_limit_reach_the_server(
    toy_stack: ToyStack, client: httpx.AsyncClient
) -> None:
    """The server's own limit is one of gRPC, counts otherwise, and must be the larger one."""
    each = (toy_stack.options.max_header_kib * 1024 - 1600) // 85
    many = {f"x-{number:02}": "v" * (each - 4) for number in range(85)}
    answer = await trigger(client, headers={**KEY, **JSON, **many})
    assert answer.status_code == 204, answer.text
    assert toy_stack.toy.metadata["x-84"] == "v" * (each - 4)


@pytest.mark.parametrize("more", [{"x": "v" * 40_000}, {f"x-{number}": "v" for number in range(120)}])
async def test_oversized_http2_headers_reset_only_their_stream(
    toy_stack: ToyStack, more: dict[str, str]
) -> None:
    """Envoy sends no response here, but announces its limit in the settings for callers to respect."""
    async with http2(toy_stack) as caller:
        caller.machine.send_headers(1, headers(**more), end_stream=True)
        caller.send()
        received = await caller.until("reset")
        assert (received.reset, received.closed, received.goaway) == (True, False, False)
        assert received.settings[SettingCodes.MAX_HEADER_LIST_SIZE] == toy_stack.options.max_header_kib * 1024
        assert await still_answers(caller)


@pytest.mark.parametrize("value", ["a\0b", "a\r\nx-injected: c", "a\nb"])
async def test_invalid_http2_headers_reset_only_their_stream(toy_stack: ToyStack, value: str) -> None:
    before = toy_stack.toy.calls
    async with http2(toy_stack) as caller:
        caller.machine.send_headers(1, headers(x=value), end_stream=True)
        caller.send()
        received = await caller.until("reset")
        assert (received.reset, received.closed, received.goaway) == (True, False, False)
        assert toy_stack.toy.calls == before
        assert await still_answers(caller)


async def still_answers(caller: Caller) -> bool:
    """Return whether a good trigger on the same connection is accepted."""
    caller.machine.send_headers(3, headers())
    caller.machine.send_data(3, b"{}", end_stream=True)
    caller.send()
    return (await caller.until("ended")).headers.get(":status") == "204"
