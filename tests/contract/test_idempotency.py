"""The same call twice is one trigger: by REST and gRPC, at once, by two server processes, after a crash."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from typing import Any

import grpc
import httpx
import pytest

from clarion.v1 import trigger_pb2 as pb
from clarion.v1 import trigger_pb2_grpc
from clarion_client import AsyncClient
from tests.kit.documented_errors import check_call, check_rest, fields_of, reason_of
from tests.kit.stack import EXAMPLE, Stack, client
from tests.kit.until import until

TRIGGER = "/api/client/campaigns/44/trigger"
BATCH = "/api/client/triggers:batch"
USER: Any = {"external_id": "x", "email": "test@test.com"}
CALLERS = 200


@pytest.fixture(scope="module")
def twice(breakable: Stack) -> Stack:
    """A product with two server processes."""
    return breakable


@pytest.fixture(scope="module")
async def rest(twice: Stack) -> AsyncIterator[httpx.AsyncClient]:
    async with client(twice) as opened:
        yield opened


@pytest.fixture(scope="module")
async def stub(twice: Stack) -> AsyncIterator[Any]:
    async with grpc.aio.insecure_channel(twice.target) as channel:
        yield trigger_pb2_grpc.TriggerServiceStub(channel)


@pytest.fixture
def key() -> str:
    return str(uuid.uuid4())


async def post(rest: httpx.AsyncClient, stack: Stack, key: str, **body: object) -> httpx.Response:
    sent = {"user": USER, **body}
    headers = {**stack.headers(), "Idempotency-Key": key}
    return await rest.post(TRIGGER, json=sent, headers=headers)


def accepted(answer: httpx.Response) -> tuple[str, bool]:
    """Return the trigger's id, and whether it is that of an earlier call."""
    assert answer.status_code == 204, answer.text
    assert answer.content == b""
    replayed = answer.headers.get("idempotency-replayed")
    assert replayed in {None, "true"}
    return answer.headers["x-trigger-id"], replayed == "true"


async def test_repeated_call_gets_the_first_response(twice: Stack, rest: httpx.AsyncClient, key: str) -> None:
    first, replayed = accepted(await post(rest, twice, key, event={"a": 1}))
    assert not replayed
    for _ in range(3):
        assert accepted(await post(rest, twice, key, event={"a": 1})) == (first, True)


async def test_concurrent_calls_with_one_key_send_one_message(
    twice: Stack, rest: httpx.AsyncClient, key: str
) -> None:
    event = {"marked": key}
    answers = await asyncio.gather(*(post(rest, twice, key, event=event) for _ in range(CALLERS)))
    results = [accepted(answer) for answer in answers]
    assert len({trigger_id for trigger_id, _ in results}) == 1
    assert [replayed for _, replayed in results].count(False) == 1
    async with twice.pool() as pool:
        assert await pool.fetchval("SELECT count(*) FROM trigger WHERE event LIKE $1", f"%{key}%") == 1


async def test_repeated_call_without_key_is_a_new_trigger(twice: Stack, rest: httpx.AsyncClient) -> None:
    answers = [await rest.post(TRIGGER, json=EXAMPLE, headers=twice.headers()) for _ in range(2)]
    assert len({answer.headers["x-trigger-id"] for answer in answers}) == 2


async def test_key_with_other_content_is_rejected(
    twice: Stack, rest: httpx.AsyncClient, stub: Any, key: str
) -> None:
    first, _ = accepted(await post(rest, twice, key, event={"a": 1}))
    for body in ({"event": {"a": 2}}, {}, {"event": {"a": 1}, "user": {**USER, "locale": "de"}}):
        refused = await post(rest, twice, key, **body)
        shown = check_rest(refused)
        assert (refused.status_code, reason_of(shown)) == (422, "IDEMPOTENCY_KEY_REUSED")
        assert fields_of(shown) == [("idempotency-key", "ALREADY_USED")]
        assert shown["details"][0]["metadata"] == {"trigger_id": first}
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.TriggerEmail(email(key, event='{"a": 3}'), metadata=twice.metadata())
    said = check_call(caught.value)
    assert (reason_of(said), fields_of(said)) == (
        "IDEMPOTENCY_KEY_REUSED", [("request_id", "ALREADY_USED")],
    )  # fmt: skip


def email(key: str, **more: Any) -> pb.TriggerEmailRequest:
    return pb.TriggerEmailRequest(campaign_id=44, user=pb.EmailUser(**USER), request_id=key, **more)


async def test_json_of_the_same_value_is_the_same_call(
    twice: Stack, rest: httpx.AsyncClient, stub: Any, key: str
) -> None:
    """By the fast path (flat objects), the full validation (nested ones), and gRPC."""
    event = '{"b": {"y": [1.10, "é"], "x": null}, "a": 1}'
    spellings = [
        '{"a":1,"b":{"x":null,"y":[1.10,"\\u00e9"]}}',
        '{ "a" : 1 , "b": {"y":[1.10,"é"],\n"x":null} }',
    ]
    user = '"user": {"external_id": "x", "email": "test@test.com"}'
    headers = {**twice.headers(), "Idempotency-Key": key}

    async def sent(event: str) -> httpx.Response:
        body = f'{{"event": {event}, {user}}}' if event.startswith("{ ") else f'{{{user},"event":{event}}}'
        return await rest.post(TRIGGER, content=body, headers=headers)

    first, _ = accepted(await sent(event))
    for spelling in spellings:
        assert accepted(await sent(spelling)) == (first, True)
        typed = await stub.TriggerEmail(email(key, event=spelling), metadata=twice.metadata())
        assert (typed.trigger_id, typed.replayed) == (first, True)
        item = f'{{"request_id": "{key}", {user}, "campaign_id": 44, "event": {spelling}}}'
        answer = await rest.post(BATCH, content=f'{{"triggers": [{item}]}}', headers=twice.headers())
        assert answer.json()["outcomes"] == [{"index": 0, "trigger_id": first, "replayed": True}]
    other = await sent(event.replace("1.10", "1.1"))
    assert reason_of(check_rest(other)) == "IDEMPOTENCY_KEY_REUSED"


async def test_rest_and_grpc_share_keys(twice: Stack, rest: httpx.AsyncClient, stub: Any, key: str) -> None:
    first, _ = accepted(await post(rest, twice, key))
    typed = await stub.TriggerEmail(email(key), metadata=twice.metadata())
    header = (*twice.metadata(), ("idempotency-key", key))
    by_header = await stub.TriggerEmail(email(""), metadata=header)
    assert [(one.trigger_id, one.replayed) for one in (typed, by_header)] == [(first, True)] * 2


@pytest.mark.parametrize(("one", "other"), [("{}", '"{}"'), ('a"b-{}', '"a\\"b-{}"')])
async def test_quoted_key_is_the_same_key(
    twice: Stack, rest: httpx.AsyncClient, key: str, one: str, other: str
) -> None:
    first, _ = accepted(await post(rest, twice, one.replace("{}", key)))
    assert accepted(await post(rest, twice, other.replace("{}", key))) == (first, True)


@pytest.mark.parametrize("wrong", ["", '""', "a b", "x" * 256, "\xe9"])
async def test_invalid_key_is_named(twice: Stack, rest: httpx.AsyncClient, wrong: str) -> None:
    headers = httpx.Headers({**twice.headers(), "Idempotency-Key": wrong}, encoding="latin-1")
    answer = await rest.post(TRIGGER, json={"user": {}}, headers=headers)
    fields = fields_of(check_rest(answer))
    assert ("idempotency-key", "INVALID_FORMAT") in fields
    assert ("user.email", "REQUIRED") in fields  # one answer names every violation


async def test_header_and_field_must_agree(twice: Stack, stub: Any, key: str) -> None:
    header = (*twice.metadata(), ("idempotency-key", "another"))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.TriggerEmail(email(key), metadata=header)
    assert fields_of(check_call(caught.value)) == [("idempotency-key", "INVALID_FORMAT")]


async def test_rejected_call_does_not_use_up_its_key(twice: Stack, rest: httpx.AsyncClient, key: str) -> None:
    assert (await post(rest, twice, key, user={**USER, "email": "missing-domain@"})).status_code == 422
    assert not accepted(await post(rest, twice, key))[1]


async def test_batches_and_calls_share_keys(twice: Stack, rest: httpx.AsyncClient, key: str) -> None:
    event = {"marked": key}
    items = [
        {"campaign_id": 44, "user": USER, "event": event, "request_id": f"{key}-{n}"} for n in range(150)
    ]
    orders = [items, items[::-1], items[:40], items[75:] + items[:75]] * 2
    calls = [post(rest, twice, f"{key}-{n}", event=event) for n in range(0, 150, 10)]
    batches = [rest.post(BATCH, json={"triggers": some}, headers=twice.headers()) for some in orders]
    answers = await asyncio.gather(*batches, *calls)
    results = {
        (item["request_id"], one["trigger_id"])
        for some, answer in zip(orders, answers, strict=False)
        for item, one in zip(some, answer.json()["outcomes"], strict=True)
    }
    alone = {(f"{key}-{10 * n}", accepted(one)[0]) for n, one in enumerate(answers[len(orders) :])}
    assert len(results) == len(items)
    assert alone <= results
    async with twice.pool() as pool:
        count = await pool.fetchval("SELECT count(*) FROM trigger WHERE event LIKE $1", f"%{key}%")
    assert count == len(items)


async def test_client_retries_through_a_killed_server(twice: Stack, key: str) -> None:
    async with AsyncClient(twice.url, twice.key, timeout=60) as clarion:
        first = asyncio.create_task(trigger_for(clarion, key, seconds=1.0))
        await asyncio.sleep(0.3)  # any moment in the middle of the calls will do
        (await twice.child("serve")).kill()
        results = await first
    await twice.until_whole()
    async with twice.pool() as pool:
        kept = await pool.fetch("SELECT id::text FROM trigger WHERE event LIKE $1", f"%{key}%")
    assert sorted(results) == sorted(row["id"] for row in kept)


async def trigger_for(clarion: AsyncClient, mark: str, seconds: float) -> list[str]:
    """Trigger from many tasks for a while; return the trigger ids they received."""
    loop = asyncio.get_running_loop()
    end, results = loop.time() + seconds, []

    async def call() -> None:
        while loop.time() < end:
            accepted = await clarion.trigger_email(44, **USER, event={"mark": mark})
            results.append(accepted.trigger_id)

    await asyncio.gather(*(call() for _ in range(20)))
    return results


async def test_keys_survive_a_database_crash(twice: Stack, rest: httpx.AsyncClient, key: str) -> None:
    first, _ = accepted(await post(rest, twice, key))
    killed = await twice.child("postgres")
    killed.kill()
    await twice.child("postgres", after=killed)  # until then, its backends may still answer

    async def answered() -> httpx.Response | None:
        answer = await post(rest, twice, key)
        return answer if answer.status_code == 204 else None

    again = await until(answered, "204 for a trigger", 60, interval=0.1)
    assert again
    assert accepted(again) == (first, True)
    await twice.until_whole()
