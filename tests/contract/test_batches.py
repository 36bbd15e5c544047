"""Batches through the gateway: what fails the call and what an item, one commit, limits by item."""

from __future__ import annotations

import datetime as dt
import json
import uuid
from collections.abc import Mapping
from typing import Any

import grpc
import httpx
import pytest

from clarion.v1 import trigger_pb2 as pb
from clarion.v1 import trigger_pb2_grpc
from server.domain.idempotency import IdempotencyKey
from server.domain.key import Scope, new_secret
from server.domain.limit import OwnLimit
from server.store.admin import keys, projects
from server.store.pool import Pool
from tests.contract.conftest import Keys
from tests.kit.documented_errors import as_json, check_call, check_rest, fields_of, reason_of
from tests.kit.stack import EXAMPLE, Stack
from tests.kit.store import a_trigger

PATH = "/api/client/triggers:batch"
GOOD: dict[str, Any] = {"campaign_id": 44, **EXAMPLE}
BAD = {**GOOD, "user": {**EXAMPLE["user"], "email": "missing-domain@"}}
MOST = 2 * 1024 * 1024


class Caller:
    """Sends batches by REST."""

    def __init__(self, http: httpx.AsyncClient, stack: Stack) -> None:
        self._http = http
        self._stack = stack

    async def post(self, body: object, *, key: str | None = None, **headers: str) -> httpx.Response:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return await self._http.post(PATH, content=content, headers={**self._stack.headers(key), **headers})

    async def outcomes(self, *items: object, key: str | None = None) -> list[dict[str, Any]]:
        answer = await self.post({"triggers": items}, key=key)
        assert answer.status_code == 200, answer.text
        found: list[dict[str, Any]] = answer.json()["outcomes"]
        assert [one["index"] for one in found] == list(range(len(items)))
        return found

    async def refusal(
        self, body: object, *, status: int = 422, header: Mapping[str, str] = {}
    ) -> list[tuple[str, str]]:
        answer = await self.post(body, **header)
        shown = check_rest(answer)
        assert answer.status_code == status, shown
        return fields_of(shown) or [("", reason_of(shown))]


@pytest.fixture
def caller(http: httpx.AsyncClient, stack: Stack) -> Caller:
    return Caller(http, stack)


@pytest.fixture
def stub(channels: dict[str, grpc.aio.Channel]) -> Any:
    return trigger_pb2_grpc.TriggerServiceStub(channels["gateway"])


async def test_valid_items_are_accepted_in_one_commit(caller: Caller, pool: Pool) -> None:
    outcomes = await caller.outcomes(*[GOOD, BAD, 5, {**GOOD, "campaign_id": 999}] * 100, GOOD)
    for number, reason in ((1, "INVALID_REQUEST"), (2, "INVALID_REQUEST"), (3, "CAMPAIGN_NOT_FOUND")):
        assert {reason_of(one["error"]) for one in outcomes[number:400:4]} == {reason}
    assert fields_of(outcomes[1]["error"]) == [("user.email", "INVALID_FORMAT")]
    assert fields_of(outcomes[2]["error"]) == [("", "WRONG_TYPE")]
    kept = [one["trigger_id"] for one in outcomes[::4]]
    rows = await pool.fetch("SELECT xmin::text FROM trigger WHERE id = ANY($1::uuid[])", kept)
    assert len(rows) == len(set(kept)) == 101
    assert len({row["xmin"] for row in rows}) == 1


async def test_batch_has_at_most_1000_items(caller: Caller, pool: Pool) -> None:
    marked = {**GOOD, "event": {"batch": str(uuid.uuid4())}}
    assert await caller.refusal({"triggers": [marked] * 1001}) == [("triggers", "OUT_OF_RANGE")]
    assert len({one["trigger_id"] for one in await caller.outcomes(*[marked] * 1000)}) == 1000
    count = await pool.fetchval("SELECT count(*) FROM trigger WHERE event = $1", json.dumps(marked["event"]))
    assert count == 1000


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({"triggers": []}, [("triggers", "REQUIRED")]),
        ({}, [("triggers", "REQUIRED")]),
        ({"triggers": GOOD}, [("triggers", "WRONG_TYPE")]),
        ({"triggers": [GOOD], "dry_run": True}, [("dry_run", "UNKNOWN_FIELD")]),
        ([GOOD], [("", "WRONG_TYPE")]),
        (b"", [("", "MALFORMED_JSON")]),
        (b'{"triggers": [{"campaign_id": 44', [("", "MALFORMED_JSON")]),
    ],
)
async def test_malformed_batch_is_rejected(
    caller: Caller, body: object, fields: list[tuple[str, str]]
) -> None:
    assert await caller.refusal(body) == fields


async def test_idempotency_header_is_rejected(caller: Caller) -> None:
    header = {"idempotency-key": "k"}
    assert await caller.refusal({"triggers": [GOOD]}, header=header) == [("idempotency-key", "UNKNOWN_FIELD")]
    both = await caller.refusal({"triggers": []}, header=header)
    assert both == [("idempotency-key", "UNKNOWN_FIELD"), ("triggers", "REQUIRED")]


async def test_request_id_belongs_to_the_first_valid_item(caller: Caller) -> None:
    key = str(uuid.uuid4())
    keyed = {**GOOD, "request_id": key}
    outcomes = await caller.outcomes({**BAD, "request_id": key}, keyed, keyed, {**keyed, "event": {}})
    first = outcomes[1]["trigger_id"]
    assert reason_of(outcomes[0]["error"]) == "INVALID_REQUEST"  # and burns no key
    assert outcomes[1:3] == [
        {"index": 1, "trigger_id": first}, {"index": 2, "trigger_id": first, "replayed": True},
    ]  # fmt: skip
    reused = outcomes[3]["error"]
    assert (reason_of(reused), fields_of(reused)) == (
        "IDEMPOTENCY_KEY_REUSED", [("request_id", "ALREADY_USED")],
    )  # fmt: skip
    assert reused["details"][0]["metadata"] == {"trigger_id": first}
    assert (await caller.outcomes(GOOD, keyed))[1] == {"index": 1, "trigger_id": first, "replayed": True}


async def test_repeated_item_with_past_send_at_is_replayed(caller: Caller, pool: Pool) -> None:
    past, key = "2026-01-01T00:00:00Z", str(uuid.uuid4())
    late = {**GOOD, "request_id": key, "send_at": past}
    soon = "2099-01-01T00:00:00Z"
    outcomes = await caller.outcomes(late, {**GOOD, "send_at": past}, {**GOOD, "send_at": soon}, GOOD)
    for outcome in outcomes[:3]:
        assert fields_of(outcome["error"]) == [("send_at", "OUT_OF_RANGE")]
    assert "trigger_id" in outcomes[3]
    await _pretend_it_was_accepted(pool, late, outcomes[3]["trigger_id"])
    repeated, fresh = await caller.outcomes(late, GOOD)
    assert repeated == {"index": 0, "trigger_id": outcomes[3]["trigger_id"], "replayed": True}
    assert fresh["trigger_id"] != outcomes[3]["trigger_id"]


async def _pretend_it_was_accepted(pool: Pool, item: dict[str, Any], trigger_id: str) -> None:
    """Write the key of an item as if it had been sent in time."""
    user = item["user"]
    said = a_trigger(
        external_id=user["external_id"],
        address=user["email"],
        timezone=user["timezone"],
        locale=user["locale"],
        event=json.dumps(item["event"]),
        send_at=dt.datetime.fromisoformat(item["send_at"]),
    )
    await pool.execute(
        "INSERT INTO idempotency (project_id, key, content, trigger_id)"
        " SELECT project_id, $1, $2, id FROM trigger WHERE id = $3",
        item["request_id"],
        IdempotencyKey.of(item["request_id"], said).content,
        trigger_id,
    )


async def test_batch_has_its_own_size_limit(caller: Caller, http: httpx.AsyncClient, stack: Stack) -> None:
    whole = json.dumps({"triggers": [GOOD]}).encode()
    padded = whole[:-1] + b" " * (MOST - len(whole)) + b"}"
    assert (await caller.post(padded)).status_code == 200
    assert await caller.refusal(padded + b" ", status=413) == [("", "BODY_TOO_LARGE")]

    async def chunks() -> Any:
        for _ in range(40):
            yield b" " * 65_536

    answer = await http.post(PATH, content=chunks(), headers=stack.headers())
    assert reason_of(check_rest(answer)) == "BODY_TOO_LARGE"
    assert f"larger than {MOST} bytes" in answer.json()["message"]


async def test_item_that_is_not_an_object_is_rejected(caller: Caller) -> None:
    (found,) = await caller.outcomes(5)
    assert found["error"]["message"] == "1 violation: item: must be a JSON object, found a number"


async def test_only_the_oversized_item_is_rejected(caller: Caller) -> None:
    padded = json.dumps(GOOD)[:-1] + " " * 256 * 1024 + "}"
    body = f'{{"triggers": [{padded}, {json.dumps(GOOD)}]}}'.encode()
    first, second = (await caller.post(body)).json()["outcomes"]
    assert reason_of(first["error"]) == "BODY_TOO_LARGE"
    assert "262144 are allowed" in first["error"]["message"]
    assert second["trigger_id"]


async def test_large_nested_items_are_validated_like_small_ones(caller: Caller) -> None:
    large = {"facts": [{"n": number, "text": "x" * 50} for number in range(300)]}
    assert len(json.dumps(large)) > 16 * 1024
    first, second = await caller.outcomes({**GOOD, "event": large}, {**BAD, "event": large})
    assert first["trigger_id"]
    assert fields_of(second["error"]) == [("user.email", "INVALID_FORMAT")]


async def test_query_is_rejected(http: httpx.AsyncClient, stack: Stack) -> None:
    query = {"body.data": "e30"}
    answer = await http.post(PATH, params=query, json={"triggers": [GOOD]}, headers=stack.headers())
    assert fields_of(check_rest(answer)) == [("query", "UNKNOWN_FIELD")]


async def test_every_item_lists_its_violations(caller: Caller) -> None:
    wrong = {"campaign_id": 44, "user": {f"{number}": 1 for number in range(150)}}
    outcomes = await caller.outcomes(*[wrong] * 1000)
    assert all(one == {**outcomes[0], "index": one["index"]} for one in outcomes)
    assert len(fields_of(outcomes[0]["error"])) > 5


async def test_typed_batch_may_mix_channels(stub: Any, stack: Stack) -> None:
    email = pb.TriggerEmailRequest(campaign_id=44, user=pb.EmailUser(external_id="x", email="a@test.com"))
    text = pb.TriggerTextRequest(campaign_id=45, user=pb.TextUser(external_id="x", phone="+12025550123"))
    items = [pb.BatchItem(email=email), pb.BatchItem(text=text), pb.BatchItem(), pb.BatchItem(push={})]
    answer = await stub.BatchTrigger(pb.BatchTriggerRequest(triggers=items), metadata=stack.metadata())
    first, second, nothing, wrong = answer.outcomes
    assert first.trigger_id != second.trigger_id
    assert all(uuid.UUID(one.trigger_id).version == 7 for one in (first, second))
    assert fields_of(as_json(nothing.error)) == [("", "REQUIRED")]
    assert fields_of(as_json(wrong.error)) == [("campaign_id", "REQUIRED"), ("user", "REQUIRED")]


@pytest.mark.parametrize(("count", "reason"), [(0, "REQUIRED"), (1001, "OUT_OF_RANGE")])
async def test_typed_batch_has_1_to_1000_items(stub: Any, stack: Stack, count: int, reason: str) -> None:
    request = pb.BatchTriggerRequest(triggers=[pb.BatchItem()] * count)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.BatchTrigger(request, metadata=stack.metadata())
    assert fields_of(check_call(caught.value)) == [("triggers", reason)]


async def test_typed_batch_has_its_own_size_limit(stub: Any, stack: Stack) -> None:
    user = pb.EmailUser(external_id="x", email="a@test.com", data=json.dumps({"a": "x" * 50_000}))
    item = pb.BatchItem(email=pb.TriggerEmailRequest(campaign_id=44, user=user))
    request = pb.BatchTriggerRequest(triggers=[item] * 41)
    answer = await stub.BatchTrigger(request, metadata=stack.metadata())
    assert all(one.trigger_id for one in answer.outcomes)
    request.triggers.add().CopyFrom(item)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.BatchTrigger(request, metadata=stack.metadata())
    assert reason_of(check_call(caught.value)) == "BODY_TOO_LARGE"


async def test_items_above_the_rate_limit_are_rejected(
    caller: Caller, pool: Pool, stack: Stack, secrets: Keys
) -> None:
    secret, project = new_secret(), await projects.ensure_project(pool, "demo")
    limit = OwnLimit(0.01, 5)
    await keys.create_key(pool, secret, project_id=project, name="slow", scopes={Scope.TRIGGER}, limit=limit)
    await stack.until_key_works(secret)  # it takes one, too
    outcomes = await caller.outcomes(BAD, GOOD, GOOD, GOOD, GOOD, GOOD, key=secret)
    kinds = [reason_of(one["error"]) if "error" in one else "accepted" for one in outcomes]
    assert kinds == ["INVALID_REQUEST", "accepted", "accepted", "accepted", "RATE_LIMITED", "RATE_LIMITED"]
    assert outcomes[-1]["error"]["details"][-1]["@type"].endswith("RetryInfo")
    answer = await caller.post({"triggers": [GOOD]}, key=secret)
    assert (answer.status_code, reason_of(check_rest(answer))) == (429, "RATE_LIMITED")


async def test_key_errors_fail_the_call_not_an_item(
    caller: Caller, http: httpx.AsyncClient, secrets: Keys
) -> None:
    answer = await http.post(PATH, json={"triggers": [GOOD]}, headers={"authorization": "Bearer sk_x"})
    assert answer.status_code == 401
    assert (await caller.post({"triggers": [GOOD]}, key=secrets.without_scope)).status_code == 403
    outcomes = await caller.outcomes(GOOD, key=secrets.held_to_45)
    assert reason_of(outcomes[0]["error"]) == "CAMPAIGN_FORBIDDEN"
