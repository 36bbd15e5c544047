"""Malformed, oversized, slow and greedy callers: each is bounded, and told why as far as HTTP allows it."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from h2.settings import SettingCodes

from tests.kit.gateway import JSON, KEY, POST, Stand, refused, say, trigger
from tests.kit.raw_http2 import Caller, headers, http2


@pytest.mark.parametrize(
    ("words", "status", "reason"),
    [
        (b"nonsense\r\n\r\n", 400, "HTTP_REFUSED"),
        (b"GET / HTTP/1.1\r\n\r\n", 400, "HTTP_REFUSED"),
        (b"GET /api/%2f HTTP/1.1\r\nhost: a\r\n\r\n", 400, "HTTP_REFUSED"),
        (POST + b"content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", 400, "HTTP_REFUSED"),
        (b"GET / HTTP/1.0\r\nhost: a\r\n\r\n", 426, "HTTP_REFUSED"),
        (b"GET / HTTP/1.1\r\nhost: a\r\nx: " + b"v" * 40_000 + b"\r\n\r\n", 431, "HTTP_REFUSED"),
        (b"GET / HTTP/1.1\r\nhost: a\r\n" + b"x: v\r\n" * 101 + b"\r\n", 431, "HTTP_REFUSED"),
        (b"GET / HTTP/1.1\r\nhost: a\r\nslow", 408, "REQUEST_TOO_SLOW"),
        (POST + b"content-type: application/json\r\ncontent-length: 9\r\n\r\n{", 408, "REQUEST_TOO_SLOW"),
        (POST + b"content-type: application/json\r\ntransfer-encoding: gzip\r\n\r\n{}", 400, "HTTP_REFUSED"),
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
    stand: Stand, words: bytes, status: int, reason: str
) -> None:
    answered, body = await say(stand, words)
    assert (answered, body["details"][0]["reason"]) == (status, reason)


@pytest.mark.parametrize(
    "framing", [b"content-length: 10000000\r\n\r\n", b"transfer-encoding: chunked\r\n\r\n989680\r\n"]
)
async def test_body_of_ten_megabytes_is_413_at_the_gateway(stand: Stand, framing: bytes) -> None:
    before = stand.toy.calls
    words = POST + b"content-type: application/json\r\n" + framing + b"x" * 10_000_000
    status, body = await say(stand, words)
    assert (status, body["details"][0]["reason"]) == (413, "BODY_TOO_LARGE")
    assert stand.toy.calls == before


GOOD = POST + b"content-type: application/json\r\ncontent-length: 2\r\n\r\n{}"


async def test_http2_rest_response_has_no_trailers(stand: Stand) -> None:
    async with http2(stand) as caller:
        caller.machine.send_headers(1, headers())
        caller.machine.send_data(1, b"{}", end_stream=True)
        caller.send()
        heard = await caller.until("ended")
    assert heard.headers[":status"] == "204"
    assert not [name for name in heard.headers if name.startswith("grpc-")]


async def test_pipelined_requests_are_answered_in_order(stand: Stand) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", stand.options.port)
    writer.write(GOOD * 3)
    for _ in range(3):
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 204 ")
    writer.close()


async def test_endless_http2_body_is_408(stand: Stand) -> None:
    async with http2(stand) as caller:
        caller.machine.send_headers(1, headers())
        caller.machine.send_data(1, b"{")
        caller.send()
        heard = await caller.until("ended")
    refused(httpx.Response(408, headers=plain(heard.headers), content=heard.body), 408, "REQUEST_TOO_SLOW")
    assert heard.headers[":status"] == "408"


async def test_endless_http2_headers_are_408(stand: Stand) -> None:
    async with http2(stand) as caller:
        caller.send()
        await caller.until("settings")
        caller.machine.send_headers(1, headers(), end_stream=True)
        caller.send_without_end_of_headers()
        heard = await caller.until("ended", answering=False)
    assert heard.headers[":status"] == "408"
    assert b'"REQUEST_TOO_SLOW"' in heard.body


def plain(headers: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if not name.startswith(":")}


async def test_headers_up_to_the_limit_reach_the_server(stand: Stand, client: httpx.AsyncClient) -> None:
    """The server's own limit is one of gRPC, counts otherwise, and must be the larger one."""
    each = (stand.options.max_header_kib * 1024 - 1600) // 85
    many = {f"x-{number:02}": "v" * (each - 4) for number in range(85)}
    answer = await trigger(client, headers={**KEY, **JSON, **many})
    assert answer.status_code == 204, answer.text
    assert stand.toy.metadata["x-84"] == "v" * (each - 4)


@pytest.mark.parametrize("more", [{"x": "v" * 40_000}, {f"x-{number}": "v" for number in range(120)}])
async def test_oversized_http2_headers_reset_only_their_stream(stand: Stand, more: dict[str, str]) -> None:
    """Envoy gives no answer here; it does tell its limit before, so that callers can keep to it."""
    async with http2(stand) as caller:
        caller.machine.send_headers(1, headers(**more), end_stream=True)
        caller.send()
        heard = await caller.until("reset")
        assert (heard.reset, heard.closed, heard.goaway) == (True, False, False)
        assert heard.settings[SettingCodes.MAX_HEADER_LIST_SIZE] == stand.options.max_header_kib * 1024
        assert await still_answers(caller)


@pytest.mark.parametrize("value", ["a\0b", "a\r\nx-injected: c", "a\nb"])
async def test_invalid_http2_headers_reset_only_their_stream(stand: Stand, value: str) -> None:
    before = stand.toy.calls
    async with http2(stand) as caller:
        caller.machine.send_headers(1, headers(x=value), end_stream=True)
        caller.send()
        heard = await caller.until("reset")
        assert (heard.reset, heard.closed, heard.goaway) == (True, False, False)
        assert stand.toy.calls == before
        assert await still_answers(caller)


async def still_answers(caller: Caller) -> bool:
    """Return whether a good trigger on the same connection is accepted."""
    caller.machine.send_headers(3, headers())
    caller.machine.send_data(3, b"{}", end_stream=True)
    caller.send()
    return (await caller.until("ended")).headers.get(":status") == "204"
