"""Following triggers end to end: by their location, and by streams over REST and gRPC."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import grpc
import httpx
import pytest

from clarion.v1 import delivery_pb2 as pb
from clarion.v1 import delivery_pb2_grpc
from server.api.page_tokens import cursor_of
from server.domain.delivery import Position
from server.domain.key import Scope, new_secret
from server.store.admin import keys, projects
from server.store.pool import Pool
from tests.contract.conftest import Keys
from tests.kit.cases import each_case
from tests.kit.documented_errors import check_call, check_rest, fields_of, reason_of
from tests.kit.event_stream import Event, listening
from tests.kit.following import TRIGGERS, UNKNOWN_ID, WATCH, trigger, until_it_ends
from tests.kit.stack import Stack


async def key_with(pool: Pool, stack: Stack, *scopes: Scope) -> tuple[str, uuid.UUID]:
    project, secret = await projects.ensure_project(pool, "demo"), new_secret()
    key = await keys.create_key(pool, secret, project_id=project, name="test", scopes=set(scopes))
    await stack.until_key_works(secret)
    return secret, key.id


def stub(channel: grpc.aio.Channel) -> Any:
    return delivery_pb2_grpc.DeliveryServiceStub(channel)


async def test_location_header_leads_to_the_trigger(
    http: httpx.AsyncClient, stack: Stack, secrets: Keys, user: str
) -> None:
    location = await trigger(http, stack, user)
    shown = await http.get(location, headers=stack.headers())
    delivery = shown.json()["delivery"]
    assert location == f"{TRIGGERS}/{delivery['trigger_id']}"
    assert delivery["external_id"] == user
    theirs = await http.get(location, headers=stack.headers(secrets.reads_of_another_project))
    assert (theirs.status_code, reason_of(check_rest(theirs))) == (404, "DELIVERY_NOT_FOUND")


@pytest.mark.parametrize("path", [TRIGGERS, WATCH, f"{TRIGGERS}/{UNKNOWN_ID}"])
async def test_key_without_read_scope_is_rejected(
    http: httpx.AsyncClient, stack: Stack, secrets: Keys, path: str
) -> None:
    answer = await http.get(path, headers=stack.headers(secrets.held_to_45))
    assert (answer.status_code, reason_of(check_rest(answer))) == (403, "SCOPE_MISSING")
    assert answer.json()["details"][0]["metadata"] == {"scope": "deliveries.read"}


@pytest.mark.parametrize("kind", ["expired", "revoked", "unknown"])
async def test_invalid_key_opens_no_stream(
    http: httpx.AsyncClient, secrets: Keys, channels: dict[str, grpc.aio.Channel], kind: str
) -> None:
    secret = getattr(secrets, kind)
    async with listening(http, secret) as events:
        assert events.answer.status_code == 401
        assert reason_of(check_rest(events.answer)) == "CREDENTIALS_INVALID"
    metadata = (("authorization", f"Bearer {secret}"),)
    call = stub(channels["gateway"]).WatchTriggers(pb.WatchTriggersRequest(), metadata=metadata)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call.read()
    assert reason_of(check_call(caught.value)) == "CREDENTIALS_INVALID"


async def test_each_method_has_its_own_scope(http: httpx.AsyncClient, stack: Stack, pool: Pool) -> None:
    reads, _ = await key_with(pool, stack, Scope.DELIVERIES_READ)
    sends, _ = await key_with(pool, stack, Scope.TRIGGER)
    path = f"{TRIGGERS}/{UNKNOWN_ID}"
    for secret, may, may_not in ((reads, "GET", "DELETE"), (sends, "DELETE", "GET")):
        found = await http.request(may, path, headers=stack.headers(secret))
        assert reason_of(check_rest(found)) == "DELIVERY_NOT_FOUND"
        assert found.json()["message"] == f"There is no trigger {UNKNOWN_ID}."
        refused = await http.request(may_not, path, headers=stack.headers(secret))
        assert reason_of(check_rest(refused)) == "SCOPE_MISSING"


@pytest.mark.parametrize(
    ("verb", "path", "allow"),
    [
        ("PUT", f"{TRIGGERS}/{UNKNOWN_ID}", "DELETE, GET, HEAD"),
        ("DELETE", WATCH, "GET"),
        ("GET", f"{TRIGGERS}:batch", "POST"),
        ("POST", TRIGGERS, "GET, HEAD"),
    ],
)
async def test_allow_lists_the_methods_of_the_path(
    http: httpx.AsyncClient, stack: Stack, verb: str, path: str, allow: str
) -> None:
    answer = await http.request(verb, path, headers=stack.headers())
    assert (answer.status_code, answer.headers["allow"]) == (405, allow)


@pytest.mark.parametrize("version", [1, 2])
async def test_watch_follows_a_trigger_to_its_end(
    http: httpx.AsyncClient, http2: httpx.AsyncClient, stack: Stack, user: str, version: int
) -> None:
    client = http2 if version == 2 else http
    location = await trigger(client, stack, user)
    async with asyncio.timeout(60), listening(client, stack.key, trigger_ids=[location[-36:]]) as events:
        found = await events.rest()
    assert events.answer.headers["content-type"] == "text/event-stream"
    assert events.answer.headers["cache-control"] == "no-cache"
    assert (found[-2].trigger_id, found[-2].state) == (location[-36:], "delivered")
    assert found[-1] == Event("end", {"code": 0, "message": "", "details": []})
    assert events.last_id == "end"
    async with listening(http, stack.key, last_event_id=events.last_id, trigger_ids=location[-36:]) as again:
        assert (again.answer.status_code, await again.answer.aread()) == (204, b"")


async def test_stream_over_http10_is_not_chunked(stack: Stack) -> None:
    """As nginx requests it by default."""
    host, port = stack.target.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    request = f"GET {WATCH} HTTP/1.0\r\nauthorization: Bearer {stack.key}\r\n\r\n"
    writer.write(request.encode())
    async with asyncio.timeout(60):
        head = await reader.readuntil(b"\r\n\r\n")
        block = await reader.readuntil(b"\n\n")
    writer.close()
    assert head.startswith(b"HTTP/1.0 200 OK\r\n")
    assert b"transfer-encoding" not in head
    assert block.startswith(b"event: heartbeat\n")


async def test_finished_stream_still_needs_a_key(http: httpx.AsyncClient) -> None:
    answer = await http.get(WATCH, headers={"last-event-id": "end"})
    assert (answer.status_code, reason_of(check_rest(answer))) == (401, "CREDENTIALS_MISSING")


async def test_stream_starts_at_once_with_later_changes(
    http: httpx.AsyncClient, stack: Stack, user: str
) -> None:
    await trigger(http, stack, user)
    async with asyncio.timeout(60), listening(http, stack.key, external_id=user, campaign_id=44) as events:
        begun = await events.block()
        location = await trigger(http, stack, user)
        received = await events.next()
        while received.trigger_id != location[-36:]:  # the first one may not have ended before
            received = await events.next()
    assert (begun.name, list(begun.data)) == ("heartbeat", ["cursor"])
    assert events.retry == "1000"
    assert received.state == "delivered"
    assert received.data["cursor"] == events.last_id


@pytest.mark.parametrize("by_header", [True, False])
async def test_reconnecting_reader_gets_missed_changes(
    http: httpx.AsyncClient, stack: Stack, user: str, *, by_header: bool
) -> None:
    async with listening(http, stack.key, external_id=user) as events:
        await events.block()
    made = {(await trigger(http, stack, user))[-36:] for _ in range(3)}
    where = {"last_event_id": events.last_id} if by_header else {"cursor": events.last_id}
    received = set[str]()
    async with asyncio.timeout(60), listening(http, stack.key, external_id=user, **where) as again:
        while received != made:
            received.add((await again.next()).trigger_id)


async def test_grpc_stream_reports_the_same(
    http: httpx.AsyncClient, stack: Stack, channels: dict[str, grpc.aio.Channel], user: str
) -> None:
    for channel in channels.values():
        call = stub(channel).WatchTriggers(
            pb.WatchTriggersRequest(external_id=user), metadata=stack.metadata(), timeout=60
        )
        begun = await call.read()
        location = await trigger(http, stack, user)
        received = await call.read()
        while not received.HasField("delivery"):  # a heartbeat, if the delivery takes long
            received = await call.read()
        assert not begun.HasField("delivery")
        assert (received.delivery.trigger_id, received.delivery.state) == (
            location[-36:],
            pb.DELIVERY_STATE_DELIVERED,
        )
        call.cancel()
        followed = stub(channel).WatchTriggers(
            pb.WatchTriggersRequest(trigger_ids=[received.delivery.trigger_id]), metadata=stack.metadata()
        )
        last = [message async for message in followed][-1]
        assert last.delivery == received.delivery
        assert await followed.code() == grpc.StatusCode.OK


REFUSED = [
    ({"campaign_id": "x"}, [("campaign_id", "WRONG_TYPE")]),
    ({"cursor": "x"}, [("cursor", "INVALID_FORMAT")]),
    ({"cursor": cursor_of(Position(2**62))}, [("cursor", "OUT_OF_RANGE")]),
    ({"cursor": "_" * 38}, [("cursor", "INVALID_FORMAT")]),
    ({"cursor": "AAAAAAAAAAEAAAAAAAAAAAAAAAAAAAAA_____w"}, [("cursor", "INVALID_FORMAT")]),
    (
        {"trigger_ids": ["x", UNKNOWN_ID, "y"]},
        [("trigger_ids[0]", "INVALID_FORMAT"), ("trigger_ids[2]", "INVALID_FORMAT")],
    ),
    ({"trigger_ids": [UNKNOWN_ID] * 101}, [("trigger_ids", "OUT_OF_RANGE")]),
    (
        {"external_id": "a\0b", "cursor": "y"},
        [("cursor", "INVALID_FORMAT"), ("external_id", "INVALID_FORMAT")],
    ),
    ({"trigger_ids": [UNKNOWN_ID]}, []),
    ({"trigger_ids": [UNKNOWN_ID], "campaign_id": "44"}, [("trigger_ids", "INVALID_FORMAT")]),
    ({"trigger_ids": [UNKNOWN_ID], "external_id": "a"}, [("trigger_ids", "INVALID_FORMAT")]),
    ({"campaign_id": str(2**63)}, [("campaign_id", "WRONG_TYPE")]),
]


@each_case(("query", "fields"), REFUSED, ids=lambda one: str(one)[:40])
async def test_invalid_watches_get_the_same_error(
    http: httpx.AsyncClient,
    stack: Stack,
    channels: dict[str, grpc.aio.Channel],
    query: dict[str, Any],
    fields: list[tuple[str, str]],
) -> None:
    async with listening(http, stack.key, **query) as events:
        refusal = check_rest(events.answer)
    for channel in channels.values():
        call = stub(channel).WatchTriggers(pb.WatchTriggersRequest(**query), metadata=stack.metadata())
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call.read()
        assert check_call(caught.value) == refusal
    assert reason_of(refusal) == ("INVALID_REQUEST" if fields else "DELIVERY_NOT_FOUND")
    assert fields_of(refusal) == fields


@pytest.mark.parametrize("last", ["x", "_" * 38, cursor_of(Position(2**62))])
async def test_invalid_last_event_id_is_named(http: httpx.AsyncClient, stack: Stack, last: str) -> None:
    async with listening(http, stack.key, last_event_id=last) as events:
        [(field, _)] = fields_of(check_rest(events.answer))
    assert (events.answer.status_code, field) == (422, "last-event-id")


async def test_revoking_a_key_ends_its_streams(
    http: httpx.AsyncClient, stack: Stack, pool: Pool, channels: dict[str, grpc.aio.Channel]
) -> None:
    secret, key_id = await key_with(pool, stack, Scope.DELIVERIES_READ)
    call = stub(channels["gateway"]).WatchTriggers(pb.WatchTriggersRequest(), metadata=stack.metadata(secret))
    await call.read()
    async with asyncio.timeout(60), listening(http, secret) as events:
        await events.block()
        await keys.revoke_key(pool, key_id)
        end = (await events.rest())[-1]
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await until_it_ends(call)
    assert (end.name, end.data["code"], reason_of(end.data)) == ("end", 16, "CREDENTIALS_INVALID")
    assert reason_of(check_call(caught.value)) == "CREDENTIALS_INVALID"
