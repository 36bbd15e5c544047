"""Callers without a key: what they send is bounded before it reaches a server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping

import httpx
import pytest
from google.api import httpbody_pb2

from clarion.v1 import trigger_pb2
from lab.strangers.http2 import Http2, http2
from tests.kit.cases import each_case
from tests.kit.gateway import KEY, TRIGGER, ToyStack, refused, running_toy_stack, trigger
from tests.kit.http_client import http_client
from tests.kit.until import until

FAILED_KEYS = 3
FLUSH_SECONDS = 0.5
CHECK = "/grpc.health.v1.Health/Check"
WATCH = "/grpc.health.v1.Health/Watch"
FOLLOW = "/clarion.v1.DeliveryService/WatchTriggers"
REFLECT = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
INVALID_ARGUMENT, UNAVAILABLE = "3", "14"


@pytest.fixture(scope="module")
async def strict() -> AsyncIterator[ToyStack]:
    """A gateway that accepts few failed keys, and does not wait long for slow readers."""
    async with running_toy_stack(max_failed_keys=FAILED_KEYS, flush_timeout=FLUSH_SECONDS) as made:
        yield made


def grpc_headers(path: str, kind: str = "application/grpc") -> Mapping[str, str]:
    named = {":method": "POST", ":scheme": "http", ":path": path, ":authority": "a", "te": "trailers"}
    return {**named, **KEY, "content-type": kind}


async def answer_to(caller: Http2, stream: int | None) -> str:
    assert stream is not None
    await until(lambda: stream in caller.answers, "the call is answered")
    return caller.answers[stream]


INCOMPLETE = {
    "nothing": (),
    "an empty frame": (b"",),
    "half a prefix": (b"\0\0\0",),
    "half a message": (b"\0\0\0\0\x0aabc",),
    "two messages": (b"\0\0\0\0\x01a" * 2,),
    "more than it says": (b"\0\0\0\0\x01abc",),
}


@each_case("path", [TRIGGER, CHECK, WATCH, FOLLOW])
@each_case("data", INCOMPLETE.values(), ids=INCOMPLETE.keys())
async def test_call_without_one_message(toy_stack: ToyStack, path: str, data: tuple[bytes, ...]) -> None:
    before = toy_stack.toy.calls
    async with http2(toy_stack.options.port) as caller:
        stream = await caller.request(grpc_headers(path), *data)
        assert await answer_to(caller, stream) == INVALID_ARGUMENT
    assert toy_stack.toy.calls == before


async def test_grpc_web_call_without_a_message(toy_stack: ToyStack) -> None:
    async with http2(toy_stack.options.port) as caller:
        stream = await caller.request(grpc_headers(TRIGGER, "application/grpc-web+proto"))
        assert await answer_to(caller, stream) == INVALID_ARGUMENT


async def test_unfinished_call_never_reaches_a_server(toy_stack: ToyStack) -> None:
    before = toy_stack.toy.calls
    async with http2(toy_stack.options.port) as caller, http_client() as client:
        for path in (TRIGGER, CHECK, FOLLOW):
            await caller.request(grpc_headers(path), b"\0\0\0\0\x0aabc", end=False)
        client.base_url = httpx.URL(f"http://{toy_stack.address}")
        assert (await trigger(client)).status_code == 204
        assert toy_stack.toy.calls == before + 1


async def test_streams_without_a_key_have_their_own_limit(toy_stack: ToyStack) -> None:
    """They are refused above 50, and calls of all other kinds continue."""
    async with http2(toy_stack.options.port) as caller, http_client() as client:
        streams = [await caller.request(grpc_headers(REFLECT), end=False) for _ in range(50)]
        refused_stream = await caller.request(grpc_headers(WATCH), b"\0\0\0\0\0")
        assert await answer_to(caller, refused_stream) == UNAVAILABLE
        assert not {*streams} & {*caller.answers}
        checked = await caller.request(grpc_headers(CHECK), b"\0\0\0\0\0")
        assert await answer_to(caller, checked) == "0"
        client.base_url = httpx.URL(f"http://{toy_stack.address}")
        assert (await trigger(client)).status_code == 204


async def test_documents_are_served_a_limited_number_of_times() -> None:
    async with (
        running_toy_stack() as stack,
        http_client(f"http://{stack.address}") as client,
    ):
        answers = await asyncio.gather(*(client.get("/openapi.json") for _ in range(200)))
        rejected = [answer for answer in answers if answer.status_code != 200]
        assert 200 - len(rejected) >= 50
        assert rejected
        for answer in rejected:
            refused(answer, 503, "OVERLOADED")
        assert (await client.get("/healthz")).status_code == 200

        async def is_served() -> bool:
            return (await trigger(client)).status_code == 204

        await until(is_served, "a trigger is accepted")


async def test_answer_that_is_not_read_is_reset(strict: ToyStack) -> None:
    document = {":method": "GET", ":scheme": "http", ":path": "/openapi.json", ":authority": "a"}
    async with http2(strict.options.port, window=0) as caller:
        stream = await caller.request(document)
        assert stream is not None
        await until(lambda: stream in caller.resets, "the stream is reset")


async def from_address(
    stack: ToyStack, address: str, key: Mapping[str, str], campaign: str
) -> httpx.Response:
    transport = httpx.AsyncHTTPTransport(local_address=address)
    async with http_client(f"http://{stack.address}", transport=transport) as client:
        headers = {**key, "content-type": "application/json"}
        return await trigger(client, campaign, headers=headers)


def another_key(number: int) -> Mapping[str, str]:
    return {"authorization": f"Bearer sk_{number:036}"}


async def test_flood_of_unknown_keys_is_rejected(strict: ToyStack) -> None:
    """Only from its address, and not with a key that was accepted before. The connections are kept."""
    good = another_key(0)
    assert (await from_address(strict, "127.0.0.2", good, "44")).status_code == 204

    async def is_rejected() -> bool:
        answers = await asyncio.gather(
            *(
                from_address(strict, "127.0.0.2", another_key(n), "unknown-key")
                for n in range(1, 4 * FAILED_KEYS)
            )
        )
        assert {answer.status_code for answer in answers} <= {401, 429}
        rejected = [answer for answer in answers if answer.status_code == 429]
        for answer in rejected:
            refused(answer, 429, "RATE_LIMITED")
            assert answer.headers["retry-after"] == "10"
            assert "connection" not in answer.headers
        if not rejected:  # a new second had begun
            return False
        before = strict.toy.calls
        assert (await from_address(strict, "127.0.0.2", good, "44")).status_code == 204
        assert strict.toy.calls == before + 1
        return (await from_address(strict, "127.0.0.3", another_key(9), "44")).status_code == 204

    await until(is_rejected, "a flood within one second is rejected")


async def test_flood_of_unknown_keys_by_grpc(strict: ToyStack) -> None:
    async with http2(strict.options.port) as caller:

        async def is_rejected() -> bool:
            streams = [
                await caller.request({**grpc_headers(TRIGGER), **another_key(number)}, unknown_key_message())
                for number in range(4 * FAILED_KEYS)
            ]
            found = [await answer_to(caller, stream) for stream in streams]
            assert {*found} <= {"16", "8"}
            return "8" in found

        await until(is_rejected, "RESOURCE_EXHAUSTED is answered")


def unknown_key_message() -> bytes:
    """Return a framed request that the toy server answers with UNAUTHENTICATED."""
    body = httpbody_pb2.HttpBody(data=b"{}")
    message = trigger_pb2.TriggerCampaignRequest(campaign_id="unknown-key", body=body)
    request = message.SerializeToString()
    return b"\0" + len(request).to_bytes(4, "big") + request
