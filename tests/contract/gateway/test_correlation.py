"""The caller's `x-request-id` is kept, and its `traceparent` returned, if they are well-formed."""

from __future__ import annotations

import uuid

import grpc
import httpx
import pytest

from tests.kit.cases import each_case
from tests.kit.gateway import JSON, KEY, ToyStack, call, trigger

TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.mark.parametrize(
    "sent", ["order-17", "8d1c2a30-6a0e-4c8e-8a55-4d9f5a9f0c51", "a" * 128, "0:/+=@~._-"]
)
async def test_caller_keeps_its_request_id(toy_stack: ToyStack, client: httpx.AsyncClient, sent: str) -> None:
    answer = await trigger(client, headers={**KEY, **JSON, "x-request-id": sent})
    assert answer.headers["x-request-id"] == sent
    assert toy_stack.toy.metadata["x-request-id"] == sent
    assert "x-clarion-request-id" not in toy_stack.toy.metadata


@each_case("sent", ["", "-", "a b", 'a"b', "a,b", "a" * 129, "é", "<script>"])
async def test_unsafe_request_id_is_replaced(
    toy_stack: ToyStack, client: httpx.AsyncClient, sent: str
) -> None:
    answer = await trigger(client, headers={**KEY, **JSON, "x-request-id": sent.encode()})
    assert uuid.UUID(answer.headers["x-request-id"])
    assert toy_stack.toy.metadata["x-request-id"] == answer.headers["x-request-id"]
    assert "x-clarion-request-id" not in toy_stack.toy.metadata


async def test_calls_without_a_request_id_get_a_new_one(client: httpx.AsyncClient) -> None:
    forged = {**KEY, **JSON, "x-clarion-request-id": "forged"}
    ids = {(await trigger(client, headers=forged)).headers["x-request-id"] for _ in range(3)}
    assert len({uuid.UUID(one) for one in ids}) == 3


@pytest.mark.parametrize("path", ["/nowhere", "/healthz", "/api/client/campaigns/44/trigger"])
async def test_gateways_own_answers_have_both(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(path, headers={"x-request-id": "mine", "traceparent": TRACEPARENT})
    assert (answer.headers["x-request-id"], answer.headers["traceparent"]) == ("mine", TRACEPARENT)


async def test_trace_context_is_returned(toy_stack: ToyStack, client: httpx.AsyncClient) -> None:
    answer = await trigger(client, headers={**KEY, **JSON, "traceparent": TRACEPARENT})
    assert answer.headers["traceparent"] == TRACEPARENT
    assert toy_stack.toy.metadata["traceparent"] == TRACEPARENT


@pytest.mark.parametrize("sent", ["", "mine", TRACEPARENT.upper(), f"{TRACEPARENT}, {TRACEPARENT}", "<b>"])
async def test_malformed_trace_context_is_not_returned(client: httpx.AsyncClient, sent: str) -> None:
    answer = await trigger(client, headers={**KEY, **JSON, "traceparent": sent})
    assert answer.status_code == 204
    assert "traceparent" not in answer.headers


async def test_grpc_metadata_has_both(toy_stack: ToyStack, channel: grpc.aio.Channel) -> None:
    more = {"x-request-id": "mine", "traceparent": TRACEPARENT}
    started = call(channel, "44", metadata=(*KEY.items(), *more.items()))
    metadata = dict(await started.initial_metadata())
    await started
    assert (metadata["x-request-id"], metadata["traceparent"]) == ("mine", TRACEPARENT)
    assert toy_stack.toy.metadata["x-request-id"] == "mine"
    assert "x-clarion-request-id" not in toy_stack.toy.metadata
