"""Scheduled triggers: sent at their time and never before; cancelled until then, over REST and gRPC."""

from __future__ import annotations

import asyncio
import datetime as dt
import uuid
from typing import Any

import grpc
import httpx
import pytest

from clarion.v1 import trigger_pb2 as pb
from clarion.v1 import trigger_pb2_grpc
from tests.contract.conftest import Keys
from tests.kit.documented_errors import check_call, check_rest, fields_of, reason_of
from tests.kit.stack import EXAMPLE, Stack
from tests.kit.triggers import delivery_in_state

HOUR = dt.timedelta(hours=1)
IN_TIME = dt.timedelta(seconds=60)
"""Separates "soon" from "within the hour" on any machine; lab.bench.schedule measures the delay."""


def ahead(by: dt.timedelta) -> dt.datetime:
    return dt.datetime.now(dt.UTC) + by


async def accepted(http: httpx.AsyncClient, stack: Stack, send_at: dt.datetime, campaign: int = 44) -> str:
    """Schedule the example; return its id."""
    user = {**EXAMPLE["user"], "phone": "+12025550123"}
    answer = await http.post(
        f"/api/client/campaigns/{campaign}/trigger",
        json={"user": user, "send_at": send_at.isoformat()},
        headers=stack.headers(),
    )
    assert answer.status_code == 204, answer.text
    assert answer.headers["location"] == f"/api/client/triggers/{answer.headers['x-trigger-id']}"
    return str(answer.headers["x-trigger-id"])


async def cancel(http: httpx.AsyncClient, stack: Stack, trigger_id: str, key: str = "") -> httpx.Response:
    return await http.delete(f"/api/client/triggers/{trigger_id}", headers=stack.headers(key or stack.key))


async def delivery(http: httpx.AsyncClient, stack: Stack, trigger_id: str) -> dict[str, Any]:
    answer = await http.get(f"/api/client/deliveries/{trigger_id}", headers=stack.headers())
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()["delivery"]
    return found


async def delivered(http: httpx.AsyncClient, stack: Stack, trigger_id: str) -> dict[str, Any]:
    """Return the delivery once it is delivered."""
    return await delivery_in_state(http, trigger_id, headers=stack.headers())


async def test_scheduled_triggers_are_sent_at_their_time(http: httpx.AsyncClient, stack: Stack) -> None:
    times = [ahead(dt.timedelta(milliseconds=1000 + 60 * number)) for number in range(20)]
    made = await asyncio.gather(*(accepted(http, stack, time) for time in times))
    while dt.datetime.now(dt.UTC) < times[-1]:
        others = [
            http.post("/api/client/campaigns/44/trigger", json=EXAMPLE, headers=stack.headers())
            for _ in range(20)
        ]
        assert {answer.status_code for answer in await asyncio.gather(*others)} == {204}
    for time, trigger_id in zip(times, made, strict=True):
        found = await delivered(http, stack, trigger_id)
        began = dt.datetime.fromisoformat(found["attempts"][0]["start_time"])
        assert time <= began < time + IN_TIME, found
        assert dt.datetime.fromisoformat(found["send_at"]) == time


async def test_scheduled_trigger_shows_when_it_is_due(http: httpx.AsyncClient, stack: Stack) -> None:
    time = ahead(HOUR)
    found = await delivery(http, stack, await accepted(http, stack, time))
    assert found["state"] == "pending"
    assert "attempts" not in found
    for member in ("send_at", "next_attempt_time"):
        assert dt.datetime.fromisoformat(found[member]) == time


async def test_cancelling_is_idempotent(http: httpx.AsyncClient, stack: Stack) -> None:
    trigger_id = await accepted(http, stack, ahead(HOUR))
    for _ in range(2):
        answer = await cancel(http, stack, trigger_id)
        assert (answer.status_code, answer.content) == (204, b"")
        assert answer.headers["x-trigger-id"] == trigger_id
    found = await delivery(http, stack, trigger_id)
    assert found["state"] == "cancelled"
    assert found["cancel_time"]
    assert "next_attempt_time" not in found


async def test_rest_and_grpc_cancel_the_same_way(http: httpx.AsyncClient, stack: Stack) -> None:
    trigger_id = await accepted(http, stack, ahead(HOUR))
    async with grpc.aio.insecure_channel(stack.target) as channel:
        stub: Any = trigger_pb2_grpc.TriggerServiceStub(channel)
        request = pb.CancelTriggerRequest(trigger_id=trigger_id.upper())
        answers = [await stub.CancelTrigger(request, metadata=stack.metadata()) for _ in range(2)]
    assert [answer.trigger_id for answer in answers] == [trigger_id] * 2
    assert (await cancel(http, stack, trigger_id)).status_code == 204


async def test_delivered_trigger_cannot_be_cancelled(http: httpx.AsyncClient, stack: Stack) -> None:
    trigger_id = await accepted(http, stack, ahead(dt.timedelta(0)))
    await delivered(http, stack, trigger_id)
    answer = await cancel(http, stack, trigger_id)
    shown = check_rest(answer)
    assert (answer.status_code, reason_of(shown)) == (422, "TOO_LATE_TO_CANCEL")
    assert shown["details"][0]["metadata"] == {"trigger_id": trigger_id, "state": "delivered"}
    async with grpc.aio.insecure_channel(stack.target) as channel:
        stub: Any = trigger_pb2_grpc.TriggerServiceStub(channel)
        request = pb.CancelTriggerRequest(trigger_id=trigger_id)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.CancelTrigger(request, metadata=stack.metadata())
    assert check_call(caught.value) == shown


async def test_cancelling_needs_the_right_to_trigger(
    http: httpx.AsyncClient, stack: Stack, secrets: Keys
) -> None:
    trigger_id = await accepted(http, stack, ahead(HOUR))
    for key, status, reason in (
        (secrets.held_to_45, 403, "CAMPAIGN_FORBIDDEN"),
        (secrets.without_scope, 403, "SCOPE_MISSING"),
        (secrets.of_another_project, 404, "DELIVERY_NOT_FOUND"),
        (secrets.unknown, 401, "CREDENTIALS_INVALID"),
    ):
        answer = await cancel(http, stack, trigger_id, key)
        assert (answer.status_code, reason_of(check_rest(answer))) == (status, reason)
    assert (await delivery(http, stack, trigger_id))["state"] == "pending"
    of_45 = await accepted(http, stack, ahead(HOUR), campaign=45)
    assert (await cancel(http, stack, of_45, secrets.held_to_45)).status_code == 204


async def test_unknown_or_invalid_id_is_rejected(http: httpx.AsyncClient, stack: Stack) -> None:
    answer = await cancel(http, stack, str(uuid.uuid4()))
    assert (answer.status_code, reason_of(check_rest(answer))) == (404, "DELIVERY_NOT_FOUND")
    answer = await cancel(http, stack, "not-an-id")
    assert (answer.status_code, fields_of(check_rest(answer))) == (422, [("trigger_id", "INVALID_FORMAT")])
