"""Rate limits of keys and projects, and the limit on calls at once, on the running product."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import grpc
import httpx
import pytest
from google.protobuf import json_format
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc

from clarion.v1 import api_key_pb2, api_key_pb2_grpc, trigger_pb2_grpc
from clarion.v1 import trigger_pb2 as pb
from server.domain.key import ApiKey, Scope, new_secret
from server.domain.limit import OwnLimit
from server.process.health_check import wait_serving
from server.store.admin import keys, projects
from server.store.pool import Pool
from tests.kit.stack import EXAMPLE, Stack, client, running_stack
from tests.kit.store import limit_key, limit_project
from tests.kit.until import until

pytestmark = pytest.mark.xdist_group("contract")

TRIGGER = "/api/client/campaigns/44/trigger"
KEYS = "/api/client/keys"
ONCE = OwnLimit(0.001, 1)
"""One call, and the next after 1000 seconds."""

MAX_CONCURRENT = 12

_names = itertools.count()
Make = Callable[..., Awaitable["Caller"]]


@dataclass
class Caller:
    """A key with its secret, and calls by it."""

    stack: Stack
    http: httpx.AsyncClient
    secret: str
    key: ApiKey
    headers: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self.headers = self.stack.headers(self.secret)

    async def read(self) -> httpx.Response:
        return await self.http.get(KEYS, headers=self.headers)

    async def trigger(self) -> httpx.Response:
        return await self.http.post(TRIGGER, json=EXAMPLE, headers=self.headers)

    async def until(self, status: int) -> None:
        """Read until the answer has this status."""

        async def answered() -> bool:
            return (await self.read()).status_code == status

        await until(answered, f"{status} for a read")


async def made(
    stack: Stack, pool: Pool, http: httpx.AsyncClient, limit: OwnLimit, project: str | None = None
) -> Caller:
    """Create a key with all scopes. On return, it works and none of its calls has been counted."""
    secret = new_secret()
    number = await projects.ensure_project(pool, project or f"limited-{next(_names)}")
    key = await keys.create_key(
        pool, secret, project_id=number, name="limited", scopes=set(Scope), limit=OwnLimit(0)
    )
    caller = Caller(stack, http, secret, key)
    await caller.until(200)
    if limit.rate:
        await limit_key(pool, caller.key.id, limit)
        await stack.until_in_force()  # a call with the key itself would count
    return caller


@pytest.fixture
def make(stack: Stack, pool: Pool, http: httpx.AsyncClient) -> Make:
    async def make_one(limit: OwnLimit, project: str | None = None) -> Caller:
        return await made(stack, pool, http, limit, project)

    return make_one


def info_of(answer: httpx.Response) -> dict[str, Any]:
    """Return the ErrorInfo of a REST answer."""
    details = answer.json()["details"]
    return next(one for one in details if one["@type"].endswith("ErrorInfo"))


def scope_of(answer: httpx.Response) -> str:
    """Check that a rate limit refused the call; return which limit."""
    assert (answer.status_code, info_of(answer)["reason"]) == (429, "RATE_LIMITED")
    return str(info_of(answer)["metadata"]["limit"])


def without_seconds(text: str) -> str:
    """Blank the seconds, which pass while the test runs."""
    return re.sub(r"(wait |t=)\d+", r"\1…", text)


async def test_rest_and_grpc_report_a_limit_alike(make: Make, channels: dict[str, grpc.aio.Channel]) -> None:
    caller = await make(OwnLimit(0.01, 2))
    assert [(await caller.read()).status_code for _ in range(2)] == [200, 200]
    rest = await caller.trigger()
    info = info_of(rest)
    assert rest.status_code == 429
    assert (info["reason"], info["domain"]) == ("RATE_LIMITED", "clarion")
    assert info["metadata"] == {"key_id": str(caller.key.id), "limit": "key"}
    assert without_seconds(rest.json()["message"]) == (
        "Too many calls: this API key is limited to 0.01 calls a second with a burst of 2; wait … s."
    )
    assert rest.headers["ratelimit-policy"] == '"key";q=2;w=200'
    assert without_seconds(rest.headers["ratelimit"]) == '"key";r=0;t=…'
    assert 90 <= int(rest.headers["retry-after"]) <= 100
    for channel in channels.values():
        status, sent = await refused_by_grpc(channel, caller)
        assert without_seconds(status.message) == without_seconds(rest.json()["message"])
        grpc_info = json_format.MessageToDict(status.details[0])
        assert grpc_info == info
        assert sent["ratelimit-policy"] == rest.headers["ratelimit-policy"]
        assert without_seconds(sent["ratelimit"]) == without_seconds(rest.headers["ratelimit"])
        assert int(rest.headers["retry-after"]) - 10 <= int(sent["retry-after"]) <= 100
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


def email() -> pb.TriggerEmailRequest:
    return pb.TriggerEmailRequest(campaign_id=44, user=pb.EmailUser(external_id="x", email="test@test.com"))


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
    caller = await make(OwnLimit(0.1, 1), "twice")
    await limit_project(pool, "twice", OwnLimit(0.01, 1))
    await stack.until_in_force()
    assert (await caller.read()).status_code == 200
    answer = await caller.read()
    assert scope_of(answer) == "project"
    assert int(answer.headers["retry-after"]) > 50
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


# ---- a separate stack with two server processes ----------------------------------------------------------


@pytest.fixture(scope="module")
async def pair(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    settings: dict[str, object] = {
        "server": {"processes": 2, "max_concurrent": MAX_CONCURRENT},
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


async def test_two_processes_keep_one_limit(pair: Stack, twelve: Caller) -> None:
    await counted(pair, 2)
    await assert_twelve_served(twelve)


async def test_a_restarted_process_keeps_the_limit(pair: Stack, pair_pool: Pool, twelve: Caller) -> None:
    await counted(pair, 2)
    before = await processes(pair_pool)
    pair.children()["serve"].terminate()

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
            calls = [
                stub.TriggerEmail(email(), metadata=pair.metadata())
                for stub in stubs
                for _ in range(MAX_CONCURRENT)
            ]
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


async def until_overloaded(pair: Stack, http: httpx.AsyncClient) -> httpx.Response:
    """Return the first answer that is about the load, after one that shows that an unknown key is not."""

    async def refused() -> httpx.Response | None:
        stranger = await http.post(TRIGGER, json=EXAMPLE, headers=pair.headers(new_secret()))
        assert stranger.status_code == 401
        answer = await http.post(TRIGGER, json=EXAMPLE, headers=pair.headers())
        return answer if answer.status_code == 503 and info_of(answer)["reason"] == "OVERLOADED" else None

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
