"""More calls than the servers can take: refused at once, before they cost a server anything."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from tests.kit.gateway import (
    ToyStack,
    call,
    grpc_error,
    hidden,
    refused,
    rich_reason,
    running_toy_stack,
    trigger,
    until_calls,
)
from tests.kit.http_client import http_client
from tests.kit.until import until

LIMIT = 2
MANY = 64


@pytest.fixture(scope="module")
async def small() -> AsyncIterator[ToyStack]:
    async with running_toy_stack(max_concurrent_per_server=LIMIT) as made:
        yield made


@pytest.fixture
async def rest(small: ToyStack) -> AsyncIterator[httpx.AsyncClient]:
    async with http_client(f"http://{small.address}") as made:
        yield made


@pytest.fixture
async def rpc(small: ToyStack) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(small.address) as made:
        yield made


@asynccontextmanager
async def busy(toy_stack: ToyStack, client: httpx.AsyncClient) -> AsyncIterator[None]:
    """Keep the server as busy as it may be for the block; all of these calls succeed."""
    before = toy_stack.toy.calls
    toy_stack.toy.free.clear()
    flying = [asyncio.create_task(trigger(client, "wait")) for _ in range(LIMIT)]
    try:
        await until_calls(toy_stack.toy, before + LIMIT)
        yield
    finally:
        toy_stack.toy.free.set()
    assert [one.status_code for one in await asyncio.gather(*flying)] == [204] * LIMIT


async def test_rest_call_above_the_limit_is_503(small: ToyStack, rest: httpx.AsyncClient) -> None:
    async with busy(small, rest):
        before = small.toy.calls
        answer = await trigger(rest)
        refused(answer, 503, "OVERLOADED")
        assert answer.headers["retry-after"] == "1"
        assert small.toy.calls == before
    assert (await trigger(rest)).status_code == 204


async def test_grpc_call_above_the_limit_is_unavailable(
    small: ToyStack, rest: httpx.AsyncClient, rpc: grpc.aio.Channel
) -> None:
    async with busy(small, rest):
        error = await grpc_error(call(rpc, "44"))
        assert (error.code(), rich_reason(error)) == (grpc.StatusCode.UNAVAILABLE, "OVERLOADED")
        metadata = dict(cast("Any", error.trailing_metadata()))
        assert metadata["retry-after"] == "1"
        assert not [name for name in metadata if name.startswith("x-envoy-")]


async def test_overload_does_not_affect_health_or_reflection(
    small: ToyStack, rest: httpx.AsyncClient, rpc: grpc.aio.Channel
) -> None:
    health: Any = health_pb2_grpc.HealthStub(rpc)
    reflection: Any = reflection_pb2_grpc.ServerReflectionStub(cast("grpc.Channel", rpc))
    async with busy(small, rest):
        assert (await health.Check(health_pb2.HealthCheckRequest())).status
        asking = reflection.ServerReflectionInfo()
        await asking.write(reflection_pb2.ServerReflectionRequest(list_services=""))
        assert (await asking.read()).list_services_response.service
        asking.cancel()
        answer = await rest.get("/readyz")
        assert (answer.status_code, hidden(answer)) == (200, [])


async def test_streams_do_not_count_as_calls(
    small: ToyStack, rest: httpx.AsyncClient, rpc: grpc.aio.Channel
) -> None:
    health: Any = health_pb2_grpc.HealthStub(rpc)
    watching = [health.Watch(health_pb2.HealthCheckRequest()) for _ in range(LIMIT + 1)]
    for one in watching:
        assert (await one.read()).status
    async with busy(small, rest):
        pass
    for one in watching:
        one.cancel()


# ---- while calls take too long, fewer are let in ----------------------------------------------------------


@pytest.fixture
async def fresh() -> AsyncIterator[ToyStack]:
    # Envoy's target is far above what a quick call takes on a busy machine.
    async with running_toy_stack(max_concurrent_per_server=MANY, latency_target=0.5) as made:
        yield made


async def test_new_gateway_accepts_many_concurrent_calls(fresh: ToyStack) -> None:
    async with crowd(fresh) as client:
        assert await slow_round(fresh, client) == [204] * MANY


@pytest.mark.long
async def test_slow_calls_lower_the_limit_for_a_while(fresh: ToyStack) -> None:
    least = fresh.options.min_concurrent
    async with crowd(fresh) as client, asyncio.timeout(300):
        # Envoy may count a call of the round before for a moment longer, so a round may have fewer.
        while sorted(await slow_round(fresh, client)) != [204] * least + [503] * (MANY - least):
            pass
        while True:  # quick calls raise the limit again
            for _ in range(20):
                assert (await trigger(client)).status_code == 204
            if await slow_round(fresh, client) == [204] * MANY:
                return


@asynccontextmanager
async def crowd(toy_stack: ToyStack) -> AsyncIterator[httpx.AsyncClient]:
    limits = httpx.Limits(max_connections=MANY, max_keepalive_connections=MANY)
    async with http_client(f"http://{toy_stack.address}", limits=limits) as made:
        yield made


async def slow_round(toy_stack: ToyStack, client: httpx.AsyncClient) -> list[int]:
    """Make calls at once and let none end before each has been taken or refused; return their statuses."""
    before = toy_stack.toy.calls
    toy_stack.toy.free.clear()
    flying = [asyncio.create_task(trigger(client, "wait")) for _ in range(MANY)]
    await until(
        lambda: toy_stack.toy.calls - before + sum(one.done() for one in flying) >= MANY,
        "every call is at the server or refused",
    )
    await asyncio.sleep(3 * toy_stack.options.latency_target)  # how slow the calls are is what Envoy measures
    toy_stack.toy.free.set()
    return [one.status_code for one in await asyncio.gather(*flying)]
