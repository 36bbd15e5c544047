"""The calls that read and revoke, by REST and by gRPC: the same answer, good or bad."""

from __future__ import annotations

import asyncio
import uuid

import httpx
import pytest

from server.domain.key import Scope, new_secret
from server.store.admin import keys, projects
from server.store.pool import Pool
from tests.kit.cases import each_case
from tests.kit.documented_errors import check_rest, fields_of, reason_of
from tests.kit.stack import EXAMPLE, Stack

from .cases.reads import NAMES, READS, SCOPES, SERVICES, UNKNOWN_ID, Read
from .ways import Answer, Ways, call, the_same


def ids(read: Read) -> str:
    return f"{read.name}-{'-'.join(str(one)[:12] for one in read.values.values())}".replace(" ", "-")


async def ask(ways: Ways, read: Read) -> list[Answer]:
    """Make the call by every way at once."""
    secret = getattr(ways.secrets, read.key)
    rest = [_rest(client, read, secret) for client in (ways.http, ways.http2)]
    return list(await asyncio.gather(*rest, *(_grpc(ways, way, read, secret) for way in ways.channels)))


async def _rest(client: httpx.AsyncClient, read: Read, secret: str) -> Answer:
    verb, path, query = read.rest
    answer = await client.request(verb, path, params=query, headers={"authorization": f"Bearer {secret}"})
    way = answer.http_version
    if answer.status_code != 200:
        return Answer(way, refusal=check_rest(answer))
    assert answer.headers["content-type"] == "application/json"
    return Answer(way, reply=answer.json())


async def _grpc(ways: Ways, way: str, read: Read, secret: str) -> Answer:
    key = f"Bearer {secret}"
    made = await call(ways.channels[way], read.grpc_path, read.message, read.reply, key)
    return Answer(f"gRPC at the {way}", **made)


@each_case("read", READS, ids=ids)
async def test_reads_get_the_same_answer(read: Read, ways: Ways) -> None:
    answers = await ask(ways, read)
    answer = the_same(answers)
    if read.reason:
        assert answer.refusal is not None, answer
        assert (reason_of(answer.refusal), fields_of(answer.refusal)) == (read.reason, sorted(read.fields))
    else:
        assert answer.reply is not None, answer
        assert all(one.reply == answer.reply for one in answers)


@pytest.mark.parametrize("method", SERVICES)
async def test_missing_scope_is_named(method: str, ways: Ways) -> None:
    read = Read("", method, {NAMES[method]: UNKNOWN_ID} if method in NAMES else {}, key="held_to_45")
    refusal = the_same(await ask(ways, read)).refusal
    assert refusal is not None
    assert refusal["details"][0]["metadata"]["scope"] == SCOPES[method]


@pytest.mark.parametrize("value", ["abc", "1.5", str(2**31), "1e2", "0x1", ""])
async def test_page_size_outside_int32_is_422(value: str, ways: Ways) -> None:
    headers = {"authorization": f"Bearer {ways.secrets.reads}"}
    answer = await ways.http.get("/api/client/campaigns", params={"page_size": value}, headers=headers)
    assert reason_of(check_rest(answer)) == "INVALID_REQUEST"


@pytest.mark.parametrize("method", ["GetDelivery", "GetTrigger"])
async def test_delivery_is_shown_only_to_its_project(ways: Ways, stack: Stack, method: str) -> None:
    posted = await ways.http.post(
        "/api/client/campaigns/44/trigger", json=EXAMPLE, headers=stack.headers(ways.secrets.good)
    )
    values = {"trigger_id": posted.headers["x-trigger-id"]}
    async with asyncio.timeout(60):  # an attempt is recorded a moment after it
        while True:
            answers = await ask(ways, Read("", method, values))
            delivery = the_same(answers).reply
            assert delivery is not None
            if all(one.reply == delivery and "attempts" in delivery["delivery"] for one in answers):
                break
    assert delivery["delivery"]["external_id"] == EXAMPLE["user"]["external_id"]
    assert "test@test.com" not in str(delivery)
    theirs = the_same(await ask(ways, Read("", method, values, key="reads_of_another_project")))
    assert theirs.refusal is not None
    assert reason_of(theirs.refusal) == "DELIVERY_NOT_FOUND"


@pytest.fixture
async def doomed(pool: Pool) -> str:
    """Return the id of a key that no other test uses."""
    project = await projects.ensure_project(pool, "demo")
    key = await keys.create_key(pool, new_secret(), project_id=project, name="doomed", scopes={Scope.TRIGGER})
    return str(key.id)


async def test_revoking_a_key_is_idempotent(doomed: str, ways: Ways) -> None:
    answers = await ask(ways, Read("", "RevokeApiKey", {"key_id": doomed}))
    replies = [answer.reply["api_key"] for answer in answers if answer.reply]
    assert len(replies) == len(answers)
    assert all(one == replies[0] for one in replies)
    assert replies[0]["revoke_time"]
    listed = the_same(await ask(ways, Read("", "ListApiKeys"))).reply
    assert listed is not None
    assert replies[0] in listed["api_keys"]


async def test_other_project_cannot_revoke_a_key(doomed: str, ways: Ways) -> None:
    read = Read("", "RevokeApiKey", {"key_id": doomed}, key="reads_of_another_project")
    refusal = the_same(await ask(ways, read)).refusal
    assert refusal is not None
    assert reason_of(refusal) == "KEY_NOT_FOUND"
    assert refusal["details"][0]["metadata"] == {"key_id": str(uuid.UUID(doomed))}
