"""Ready means: the database answers. Live means: the gateway does. Both by REST and by gRPC health."""

from __future__ import annotations

from typing import Any

import grpc
import httpx
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.kit.documented_errors import check_rest, reason_of
from tests.kit.stack import Stack, client
from tests.kit.until import until

SERVICE = "clarion.v1.TriggerService"
SERVING = health_pb2.HealthCheckResponse.SERVING


async def until_ready_says(http: httpx.AsyncClient, status: int) -> httpx.Response:
    async def answered() -> httpx.Response | None:
        answer = await http.get("/readyz")
        return answer if answer.status_code == status else None

    answer = await until(answered, f"/readyz answers {status}")
    assert answer
    return answer


async def health(channel: grpc.aio.Channel, service: str) -> int:
    stub: Any = health_pb2_grpc.HealthStub(channel)
    answer = await stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=60)
    return int(answer.status)


async def until_serving(channel: grpc.aio.Channel, *, wanted: bool = True) -> None:
    async def is_as_wanted() -> bool:
        return (await health(channel, SERVICE) == SERVING) is wanted

    await until(is_as_wanted, f"the service is {'' if wanted else 'not '}serving")


async def test_server_without_database_is_live_but_not_ready(breakable: Stack) -> None:
    postmaster = await breakable.child("postgres")
    async with client(breakable) as http, grpc.aio.insecure_channel(breakable.target) as channel:
        await breakable.until_whole()
        await until_ready_says(http, 200)
        await until_serving(channel)
        stopped = [postmaster, *postmaster.children(recursive=True)]
        for process in stopped:
            process.suspend()
        try:
            answer = await until_ready_says(http, 503)
            assert reason_of(check_rest(answer)) == "NOT_READY"
            assert (await http.get("/healthz")).status_code == 200
            await until_serving(channel, wanted=False)  # each server notices on its own
            assert await health(channel, "") == SERVING  # it takes calls, and says what is wrong
        finally:
            for process in stopped:
                process.resume()
        await breakable.until_whole()
        await until_ready_says(http, 200)
        await until_serving(channel)
