"""Limits that several server processes share, and calls beyond what a process can take."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable
from typing import Any

import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from clarion.v1 import trigger_pb2_grpc
from server.domain.key import new_secret
from server.domain.limit import OwnLimit
from server.process.health_check import wait_serving
from server.store.pool import Pool
from tests.kit.limits import TRIGGER, Caller, email, info_of, made, scope_of
from tests.kit.stack import EXAMPLE, Stack, client, running_stack
from tests.kit.until import until

MAX_CONCURRENT = 12


@pytest.fixture(scope="module")
async def pair(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    settings: dict[str, object] = {
        "server": {"processes": 2, "max_concurrent": MAX_CONCURRENT, "deadline": 120.0},
        "limits": {"per_project": 5000, "per_project_burst": 6000},
    }
    async with running_stack(tmp_path_factory.mktemp("pair"), settings) as running:
        yield running


@pytest.fixture(scope="module")
async def pair_pool(pair: Stack) -> AsyncIterator[Pool]:
    async with pair.pool() as opened:
        yield opened


@pytest.fixture
async def twelve(pair: Stack, pair_pool: Pool) -> AsyncIterator[Caller]:
    """Return a key with a burst of 12 calls, which refills so slowly that the test sees none of it."""
    async with client(pair) as http:
        yield await made(pair, pair_pool, http, OwnLimit(0.001, 12))


async def counted(pair: Stack, count: int) -> None:
    """Return when the last count of both servers is this."""
    await until(
        lambda: all(last_count(pair.log(f"server-{number}")) == count for number in range(2)),
        f"both servers count {count} processes",
    )


def last_count(log: str) -> int | None:
    lines = [line for line in log.splitlines() if "server processes counted" in line]
    return int(json.loads(lines[-1])["count"]) if lines else None


async def assert_twelve_served(caller: Caller) -> None:
    """Call until both servers together have served 12 calls; check that they serve no more."""
    served = 0

    async def all_served() -> bool:
        nonlocal served
        answer = await caller.read()
        assert answer.status_code in {200, 429}
        served += answer.status_code == 200
        return served == 12

    await until(all_served, lambda: f"12 calls are served; {served} were", interval=0)
    for _ in range(40):  # Envoy spreads them over both servers
        refused = await caller.read()
        assert scope_of(refused) == "key"
        assert refused.headers["ratelimit-policy"] == '"key";q=12;w=12000, "project";q=6000;w=2'


@pytest.mark.long
async def test_two_processes_keep_one_limit(pair: Stack, twelve: Caller) -> None:
    await counted(pair, 2)
    await assert_twelve_served(twelve)


@pytest.mark.long
async def test_a_restarted_process_keeps_the_limit(pair: Stack, pair_pool: Pool, twelve: Caller) -> None:
    await counted(pair, 2)
    before = await processes(pair_pool)
    (await pair.child("serve")).terminate()

    async def replaced() -> bool:
        now = await processes(pair_pool)
        return len(now) == 2 and now != before

    await until(replaced, "another process is on record")
    await pair.until_printed("restarting")
    await counted(pair, 2)
    await both_ready(pair)
    await assert_twelve_served(twelve)


async def processes(pool: Pool) -> set[object]:
    return {row["id"] for row in await pool.fetch("SELECT id FROM server_process")}


async def both_ready(pair: Stack) -> None:
    for number in range(2):
        await wait_serving(f"unix:{pair.server_socket.with_name(f'server-{number}.sock')}", 20)


@pytest.mark.long
async def test_key_is_checked_before_the_load(pair: Stack, pair_pool: Pool) -> None:
    await both_ready(pair)
    targets = [f"unix:{pair.server_socket.with_name(f'server-{number}.sock')}" for number in range(2)]
    async with (
        client(pair) as http,
        grpc.aio.insecure_channel(targets[0]) as first,
        grpc.aio.insecure_channel(targets[1]) as second,
    ):
        stubs = [trigger_pb2_grpc.TriggerServiceStub(channel) for channel in (first, second)]
        async with pair_pool.acquire() as connection, connection.transaction():
            await connection.execute("LOCK TABLE trigger IN ACCESS EXCLUSIVE MODE")
            calls = [call for stub in stubs for call in await held(stub, pair.metadata())]
            rest = await until_overloaded(pair, http)
            assert info_of(rest)["reason"] == "OVERLOADED"
            assert rest.headers["retry-after"] == "1"
            error = await until(lambda: overloaded(stubs[0], pair.metadata()), "OVERLOADED by gRPC")
            assert error
            assert ("retry-after", "1") in list(error.trailing_metadata() or ())
            check: Any = health_pb2_grpc.HealthStub(first)  # its type stubs know no methods
            health = await check.Check(health_pb2.HealthCheckRequest())
            assert health.status == health_pb2.HealthCheckResponse.SERVING
        answers = await asyncio.gather(*calls)
        assert all(answer.trigger_id for answer in answers)
        answer = await http.post(TRIGGER, json=EXAMPLE, headers=pair.headers())
        assert answer.status_code == 204


async def held(stub: Any, metadata: Any) -> set[asyncio.Task[Any]]:
    """Make as many calls as a server takes at once, while none of them can be answered."""
    calls = {
        asyncio.create_task(answer(stub.TriggerEmail(email(), metadata=metadata)))
        for _ in range(MAX_CONCURRENT + 1)
    }
    (refused,), others = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
    error = refused.exception()
    assert isinstance(error, grpc.aio.AioRpcError)
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    return others


async def answer(call: Awaitable[Any]) -> Any:
    return await call


async def until_overloaded(pair: Stack, http: httpx.AsyncClient) -> httpx.Response:
    """Return the first answer that is about the load; one to an unknown key is not."""

    async def refused() -> httpx.Response | None:
        answer = await http.post(TRIGGER, json=EXAMPLE, headers=pair.headers())
        if answer.status_code != 503 or info_of(answer)["reason"] != "OVERLOADED":
            return None
        stranger = await http.post(TRIGGER, json=EXAMPLE, headers=pair.headers(new_secret()))
        assert stranger.status_code == 401
        return answer

    answer = await until(refused, "OVERLOADED by REST")
    assert answer
    return answer


async def overloaded(stub: Any, metadata: Any) -> grpc.aio.AioRpcError | None:
    """Call with a malformed key, then with a good one; return the error if it is about the load."""
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await stub.TriggerEmail(email(), metadata=(("authorization", "nonsense"),))
    assert raised.value.code() is grpc.StatusCode.UNAUTHENTICATED
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await stub.TriggerEmail(email(), metadata=metadata)
    return raised.value if raised.value.code() is grpc.StatusCode.UNAVAILABLE else None
