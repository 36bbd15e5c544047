"""Rate limits of keys and projects, and the limit on calls at once, on the running product."""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import httpx
import pytest
from google.protobuf import json_format
from google.rpc import error_details_pb2, status_pb2

from clarion.v1 import api_key_pb2, api_key_pb2_grpc, trigger_pb2_grpc
from server.domain.key import new_secret
from server.domain.limit import OwnLimit
from server.store.pool import Pool
from tests.kit.limits import KEYS, TRIGGER, Caller, email, info_of, made, scope_of
from tests.kit.stack import Stack
from tests.kit.store import limit_key, limit_project

ONCE = OwnLimit(0.001, 1)
"""One call, and the next after 1000 seconds."""


Make = Callable[..., Awaitable["Caller"]]


@pytest.fixture
def make(stack: Stack, pool: Pool, http: httpx.AsyncClient) -> Make:
    async def make_one(limit: OwnLimit, project: str | None = None) -> Caller:
        return await made(stack, pool, http, limit, project)

    return make_one


def without_seconds(text: str) -> str:
    """Blank the seconds, which pass while the test runs."""
    return re.sub(r"(wait |t=)\d+", r"\1…", text)


async def test_rest_and_grpc_report_a_limit_alike(make: Make, channels: dict[str, grpc.aio.Channel]) -> None:
    caller = await make(OwnLimit(0.001, 2))
    assert [(await caller.read()).status_code for _ in range(2)] == [200, 200]
    rest = await caller.trigger()
    info = info_of(rest)
    assert rest.status_code == 429
    assert (info["reason"], info["domain"]) == ("RATE_LIMITED", "clarion")
    assert info["metadata"] == {"key_id": str(caller.key.id), "limit": "key"}
    assert without_seconds(rest.json()["message"]) == (
        "Too many calls: this API key is limited to 0.001 calls a second with a burst of 2; wait … s."
    )
    assert rest.headers["ratelimit-policy"] == '"key";q=2;w=2000'
    assert without_seconds(rest.headers["ratelimit"]) == '"key";r=0;t=…'
    assert 900 <= int(rest.headers["retry-after"]) <= 1000
    for channel in channels.values():
        status, sent = await refused_by_grpc(channel, caller)
        assert without_seconds(status.message) == without_seconds(rest.json()["message"])
        grpc_info = json_format.MessageToDict(status.details[0])
        assert grpc_info == info
        assert sent["ratelimit-policy"] == rest.headers["ratelimit-policy"]
        assert without_seconds(sent["ratelimit"]) == without_seconds(rest.headers["ratelimit"])
        assert int(rest.headers["retry-after"]) - 100 <= int(sent["retry-after"]) <= 1000
        retry = error_details_pb2.RetryInfo()
        assert status.details[1].Unpack(retry)
        assert 0 <= int(sent["retry-after"]) - retry.retry_delay.ToMilliseconds() / 1000 <= 1


async def refused_by_grpc(
    channel: grpc.aio.Channel, caller: Caller
) -> tuple[status_pb2.Status, dict[str, Any]]:
    """Make a call that is refused; return the status and the trailing metadata."""
    stub = trigger_pb2_grpc.TriggerServiceStub(channel)
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await stub.TriggerEmail(email(), metadata=caller.stack.metadata(caller.secret))
    assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    sent = dict(raised.value.trailing_metadata() or ())
    return status_pb2.Status.FromString(sent["grpc-status-details-bin"]), sent


async def test_only_calls_with_a_valid_key_count(make: Make, stack: Stack) -> None:
    caller = await make(OwnLimit(0.001, 4), "demo")
    unknown = [caller.http.get(KEYS, headers=stack.headers(new_secret())) for _ in range(20)]
    assert {answer.status_code for answer in await asyncio.gather(*unknown)} == {401}
    nothing = await caller.http.get(f"/api/client/deliveries/{uuid.uuid4()}", headers=caller.headers)
    bad = await caller.http.post(TRIGGER, json={}, headers=caller.headers)
    codes = [answer.status_code for answer in (await caller.read(), await caller.trigger(), nothing, bad)]
    assert codes == [200, 204, 404, 422]
    assert scope_of(await caller.read()) == scope_of(await caller.trigger()) == "key"


async def test_keys_of_a_project_share_its_limit(make: Make, stack: Stack, pool: Pool) -> None:
    one = await make(OwnLimit(0), "shared")
    other = await make(OwnLimit(0.5, 100), "shared")
    stranger = await make(OwnLimit(0))
    await limit_project(pool, "shared", OwnLimit(0.01, 4))
    await stack.until_in_force()
    assert [(await one.read()).status_code for _ in range(3)] == [200] * 3
    assert (await other.read()).status_code == 200
    first, second = await one.read(), await other.read()
    assert scope_of(first) == scope_of(second) == "project"
    assert info_of(second)["metadata"]["key_id"] == str(other.key.id)
    assert first.headers["ratelimit-policy"] == '"project";q=4;w=400'
    assert second.headers["ratelimit-policy"] == '"key";q=100;w=200, "project";q=4;w=400'
    assert without_seconds(second.headers["ratelimit"]) == '"project";r=0;t=…'
    assert (await stranger.read()).status_code == 200


async def test_longer_wait_of_two_limits_counts(make: Make, stack: Stack, pool: Pool) -> None:
    caller = await make(OwnLimit(0.01, 1), "twice")
    await limit_project(pool, "twice", OwnLimit(0.001, 1))
    await stack.until_in_force()
    assert (await caller.read()).status_code == 200
    answer = await caller.read()
    assert scope_of(answer) == "project"
    assert int(answer.headers["retry-after"]) > 500
    assert without_seconds(answer.headers["ratelimit"]) == '"key";r=0;t=…, "project";r=0;t=…'


async def test_call_after_the_promised_wait_succeeds(make: Make) -> None:
    caller = await make(OwnLimit(0.8, 3))
    async with asyncio.timeout(60):
        while (answer := await caller.read()).status_code == 200:
            pass
    assert scope_of(answer) == "key"
    delay = next(d for d in answer.json()["details"] if d["@type"].endswith("RetryInfo"))["retry_delay"]
    assert float(delay.rstrip("s")) <= int(answer.headers["retry-after"]) <= 2
    await asyncio.sleep(float(delay.rstrip("s")))  # the wait that the answer promises, in real time
    assert (await caller.read()).status_code == 200


async def test_changed_limits_come_into_force(make: Make, pool: Pool) -> None:
    caller = await make(OwnLimit(0), "changing")
    await limit_key(pool, caller.key.id, ONCE)
    await caller.until(429)
    await limit_key(pool, caller.key.id, OwnLimit(0))
    await caller.until(200)
    await limit_project(pool, "changing", ONCE)
    await caller.until(429)
    await limit_project(pool, "changing", OwnLimit())
    await caller.until(200)


async def test_keys_show_their_limit(make: Make, channels: dict[str, grpc.aio.Channel]) -> None:
    caller = await make(OwnLimit(50, 70))
    [shown] = (await caller.read()).json()["api_keys"]
    assert shown["rate_limit"] == {"requests_per_second": 50.0, "burst": 70}
    stub = api_key_pb2_grpc.ApiKeyServiceStub(channels["server"])
    metadata = caller.stack.metadata(caller.secret)
    listed = await stub.ListApiKeys(api_key_pb2.ListApiKeysRequest(), metadata=metadata)
    assert listed.api_keys[0].rate_limit == api_key_pb2.RateLimit(requests_per_second=50, burst=70)
    free = await make(OwnLimit(0))
    [shown] = (await free.read()).json()["api_keys"]
    assert "rate_limit" not in shown
