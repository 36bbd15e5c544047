"""The caller's trace context goes with a trigger from the call to the delivery's log line."""

from __future__ import annotations

import grpc
import httpx
import pytest

from clarion.v1 import trigger_pb2, trigger_pb2_grpc
from server.store.pool import Pool
from tests.kit.stack import EXAMPLE, Stack
from tests.kit.until import until

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
CONTEXT = f"00-{TRACE_ID}-00f067aa0ba902b7-01"


async def kept(pool: Pool, trigger_id: str) -> str:
    found: str = await pool.fetchval("SELECT traceparent FROM trigger WHERE id = $1", trigger_id)
    return found


async def test_rest_trace_context_is_in_the_delivery_log(
    stack: Stack, http: httpx.AsyncClient, pool: Pool
) -> None:
    headers = {**stack.headers(), "traceparent": CONTEXT}
    answer = await http.post("/api/client/campaigns/44/trigger", json=EXAMPLE, headers=headers)
    trigger_id = answer.headers["x-trigger-id"]
    assert answer.headers["traceparent"] == CONTEXT
    assert await kept(pool, trigger_id) == CONTEXT
    await until(
        lambda: any(trigger_id in line and TRACE_ID in line for line in stack.log("dispatcher").splitlines()),
        "the dispatcher logs the trace id",
    )


@pytest.mark.parametrize("way", ["gateway", "server"])
async def test_grpc_trace_context_is_in_the_delivery_log(
    way: str, stack: Stack, channels: dict[str, grpc.aio.Channel], pool: Pool
) -> None:
    user = trigger_pb2.EmailUser(external_id="x", email="test@test.com")
    request = trigger_pb2.TriggerEmailRequest(campaign_id=44, user=user)
    stub = trigger_pb2_grpc.TriggerServiceStub(channels[way])
    answer = await stub.TriggerEmail(
        request, metadata=(*stack.metadata(), ("traceparent", CONTEXT)), timeout=60
    )
    assert await kept(pool, answer.trigger_id) == CONTEXT


async def test_malformed_trace_context_is_dropped(stack: Stack, http: httpx.AsyncClient, pool: Pool) -> None:
    headers = {**stack.headers(), "traceparent": "'; DROP TABLE trigger; --"}
    answer = await http.post("/api/client/campaigns/44/trigger", json=EXAMPLE, headers=headers)
    assert answer.status_code == 204
    assert await kept(pool, answer.headers["x-trigger-id"]) == ""
