"""Callers that use too many resources: limited by our settings, and floods of frames by Envoy's defaults."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import httpx
import pytest
from h2.connection import H2Connection

from tests.kit.gateway import POST, ToyStack, running_toy_stack, trigger
from tests.kit.http_client import http_client
from tests.kit.raw_http2 import headers, http2
from tests.kit.until import until

CONNECTIONS = 20
IDLE_SECONDS = 2.0
OVERFLOW = "listener[.].*[.]downstream_global_cx_overflow"
HEAP_BYTES = 32 * 1024 * 1024


@pytest.fixture(scope="module")
async def narrow() -> AsyncIterator[ToyStack]:
    async with running_toy_stack(max_connections=CONNECTIONS, idle_timeout=IDLE_SECONDS) as made:
        yield made


async def counted(toy_stack: ToyStack, name: str) -> int:
    """Return the value of a counter of Envoy; the sum, if each listener has one."""
    transport = httpx.AsyncHTTPTransport(uds=str(toy_stack.options.admin_socket))
    async with http_client("http://admin", transport=transport) as admin:
        text = (await admin.get("/stats", params={"filter": f"^{name}$"})).text
    return sum(int(line.rpartition(":")[2]) for line in text.splitlines())


async def still_serves(toy_stack: ToyStack) -> bool:
    async with http_client(f"http://{toy_stack.address}") as client:
        return (await trigger(client)).status_code == 204


async def response_to_new_connection(toy_stack: ToyStack) -> bytes:
    """Return the response to a valid request on a new connection: empty if there are too many connections."""
    reader, writer = await asyncio.open_connection("127.0.0.1", toy_stack.options.port)
    writer.write(b"GET /healthz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
    try:
        return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def test_connection_above_the_limit_is_closed(narrow: ToyStack) -> None:
    port = narrow.options.port

    async def closed() -> bool:
        held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(CONNECTIONS)]
        try:
            return await response_to_new_connection(narrow) == b"" and await counted(narrow, OVERFLOW) >= 1
        finally:
            for _, writer in held:
                writer.close()

    # On a busy machine, those that are held, or this one, may be closed first, because they are idle.
    await until(closed, "one more connection is closed, because there are too many")

    async def served() -> bool:
        return (await response_to_new_connection(narrow)).startswith(b"HTTP/1.1 200 ")

    await until(served, "a new connection is served")


async def test_idle_connection_is_closed(narrow: ToyStack) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", narrow.options.port)
    assert await reader.read() == b""
    writer.close()


async def test_idle_http2_connection_gets_goaway(narrow: ToyStack) -> None:
    async with http2(narrow) as caller:
        caller.send()
        received = await caller.until("closed")
    assert received.goaway


async def test_incomplete_batches_do_not_exhaust_memory() -> None:
    head = POST.replace(b"campaigns/44/trigger", b"triggers:batch") + b"content-type: application/json\r\n"
    half = head + b"content-length: 2000000\r\n\r\n" + b" " * 1_999_999
    async with running_toy_stack(max_heap_bytes=HEAP_BYTES, body_timeout=20.0) as toy_stack:
        connections = [await asyncio.open_connection("127.0.0.1", toy_stack.options.port) for _ in range(30)]
        for _, writer in connections:
            writer.write(half)

        async def under_pressure() -> bool:
            return await counted(toy_stack, "overload.envoy.resource_monitors.fixed_heap.pressure") >= 75

        async def recovered() -> bool:
            return await counted(toy_stack, "server.memory_allocated") <= HEAP_BYTES and await still_serves(
                toy_stack
            )

        await until(under_pressure, "the heap is under pressure")
        await until(recovered, "the memory is free again and a call is served")
        for _, writer in connections:
            writer.close()


def resets(machine: H2Connection) -> bytes:
    for stream in range(1, 601, 2):
        machine.send_headers(stream, headers())
        machine.reset_stream(stream)
    return b""


def settings(_: H2Connection) -> bytes:
    return b"\0\0\0\x04\0\0\0\0\0" * 5_000


def pings(_: H2Connection) -> bytes:
    return b"\0\0\x08\x06\0\0\0\0\0ABCDEFGH" * 5_000


def empty_data(machine: H2Connection) -> bytes:
    machine.send_headers(1, headers())
    return b"\0\0\0\0\0\0\0\0\x01" * 5_000


def priorities(_: H2Connection) -> bytes:
    return b"\0\0\x05\x02\0\0\0\0\x01\0\0\0\0\x10" * 20_000


@pytest.mark.parametrize(
    ("flood", "statistic"),
    [
        (resets, "http.ingress.downstream_rq_too_many_premature_resets"),
        (settings, "http2.outbound_control_flood"),
        (pings, "http2.outbound_control_flood"),
        (empty_data, "http2.inbound_empty_frames_flood"),
        (priorities, "http2.inbound_priority_frames_flood"),
    ],
)
async def test_frame_flood_closes_only_its_connection(
    toy_stack: ToyStack, flood: Callable[[H2Connection], bytes], statistic: str
) -> None:
    before = await counted(toy_stack, statistic)
    async with http2(toy_stack) as caller:
        caller.send(flood(caller.machine))
        await caller.until("closed", answering=False)
    assert await counted(toy_stack, statistic) > before
    assert await still_serves(toy_stack)
