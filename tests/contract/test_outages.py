"""Limits and outages, on a separate stack."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator

import grpc
import httpx
import pytest

from clarion.v1 import trigger_pb2_grpc
from tests.kit.documented_errors import check_call, reason_of
from tests.kit.edges import TRIGGER, email_request, reason, refused, until_status
from tests.kit.stack import EXAMPLE, Stack, client, running_stack
from tests.kit.until import until

pytestmark = pytest.mark.long  # tests/contract/gateway and test_limits.py have the short form


@pytest.fixture(scope="module")
async def troubled(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    settings: dict[str, object] = {
        "server": {"deadline": 4.0, "catalog_max_age": 60},
        "limits": {"per_key": 1, "per_key_burst": 20},
        "gateway": {"request_timeout": 20.0},
    }
    async with running_stack(tmp_path_factory.mktemp("troubled"), settings) as running:
        yield running


async def test_calls_above_the_limit_get_retry_after(troubled: Stack) -> None:
    async with client(troubled) as http, grpc.aio.insecure_channel(troubled.target) as channel:
        posts = (http.post(TRIGGER, json=EXAMPLE, headers=troubled.headers()) for _ in range(80))
        answers = await asyncio.gather(*posts)
        limited = [answer for answer in answers if answer.status_code == 429]
        assert {answer.status_code for answer in answers} == {204, 429}
        assert {reason(answer) for answer in limited} == {"RATE_LIMITED"}
        assert all(int(answer.headers["retry-after"]) >= 1 for answer in limited)
        stub = trigger_pb2_grpc.TriggerServiceStub(channel)
        calls = [stub.TriggerEmail(email_request(), metadata=troubled.metadata()) for _ in range(80)]
        ends = await asyncio.gather(*calls, return_exceptions=True)
        errors = [end for end in ends if isinstance(end, grpc.aio.AioRpcError)]
        assert {error.code() for error in errors} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
        assert {reason_of(check_call(error)) for error in errors} == {"RATE_LIMITED"}


async def test_hanging_database_is_504_and_stopped_one_503(troubled: Stack) -> None:
    postmaster = int((troubled.data / "postgres" / "postmaster.pid").read_text().split()[0])
    async with client(troubled) as http, grpc.aio.insecure_channel(troubled.target) as channel:
        stub = trigger_pb2_grpc.TriggerServiceStub(channel)
        async with (
            troubled.pool() as pool,
            pool.acquire() as connection,
            connection.transaction(),
        ):
            await connection.execute("LOCK TABLE trigger IN ACCESS EXCLUSIVE MODE")
            slow = await until_not_limited(http, troubled)
            late = await refused(stub.TriggerEmail(email_request(), metadata=troubled.metadata(), timeout=60))
        assert (slow.status_code, reason(slow)) == (504, "TIMED_OUT")
        assert late.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert reason_of(check_call(late)) == "TIMED_OUT"
        os.kill(postmaster, signal.SIGINT)
        down = await until_unavailable(http, troubled)
        assert reason(down) == "STORE_UNAVAILABLE"
        assert int(down.headers["retry-after"]) >= 1
        await troubled.until_printed("restarting")
        await until_status(http, troubled.headers(), 204)


async def until_not_limited(http: httpx.AsyncClient, stack: Stack) -> httpx.Response:
    """Return the first answer that is not about the rate limit, which an earlier test has used up."""

    async def answered() -> httpx.Response | None:
        answer = await http.post(TRIGGER, json=EXAMPLE, headers=stack.headers())
        return None if answer.status_code == 429 else answer

    answer = await until(answered, "an answer within the rate limit")
    assert answer
    return answer


async def until_unavailable(http: httpx.AsyncClient, stack: Stack) -> httpx.Response:
    """Return the first 503."""

    async def answered() -> httpx.Response | None:
        answer = await http.post(TRIGGER, json=EXAMPLE, headers=stack.headers())
        assert answer.status_code in {204, 429, 503, 504}
        return answer if answer.status_code == 503 else None

    answer = await until(answered, "503 for a trigger", interval=0.1)
    assert answer
    return answer


async def test_gateway_without_server_is_503_with_retry_after(troubled: Stack) -> None:
    server = await troubled.child("serve")
    server.suspend()
    try:
        async with client(troubled) as http:
            answer = await until_unavailable(http, troubled)
        assert reason(answer) == "SERVER_UNAVAILABLE"
        assert int(answer.headers["retry-after"]) >= 1
    finally:
        server.resume()
        await troubled.until_whole()
