"""Ready means: the database answers. Live means: the gateway does. Both by REST and by gRPC health."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.kit.documented_errors import check_rest, reason_of
from tests.kit.stack import Stack, client, running_stack
from tests.kit.until import until

pytestmark = pytest.mark.xdist_group("readiness")

SERVICE = "clarion.v1.TriggerService"
SERVING = health_pb2.HealthCheckResponse.SERVING


@pytest.fixture
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    async with running_stack(tmp_path_factory.mktemp("readiness")) as running:
        yield running


async def until_ready_says(http: httpx.AsyncClient, status: int) -> httpx.Response:
    async def answered() -> httpx.Response | None:
        answer = await http.get("/readyz")
        return answer if answer.status_code == status else None

    answer = await until(answered, f"/readyz answers {status}")
    assert answer
    return answer


async def health(channel: grpc.aio.Channel, service: str) -> int:
    stub: Any = health_pb2_grpc.HealthStub(channel)
    answer = await stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=5)
    return int(answer.status)


async def test_server_without_database_is_live_but_not_ready(stack: Stack) -> None:
    postmaster = stack.children()["postgres"]
    async with client(stack) as http, grpc.aio.insecure_channel(stack.target) as channel:
        await until_ready_says(http, 200)
        assert await health(channel, SERVICE) == SERVING
        stopped = [postmaster, *postmaster.children(recursive=True)]
        for process in stopped:
            process.suspend()
        try:
            answer = await until_ready_says(http, 503)
            assert reason_of(check_rest(answer)) == "NOT_READY"
            assert (await http.get("/healthz")).status_code == 200
            assert await health(channel, SERVICE) != SERVING
            assert await health(channel, "") == SERVING  # it takes calls, and says what is wrong
        finally:
            for process in stopped:
                process.resume()
        await until_ready_says(http, 200)
        assert await health(channel, SERVICE) == SERVING
