"""What the Python client tells of triggers: one, pages of them, and changes through broken connections."""

from __future__ import annotations

import asyncio
import datetime as dt
import itertools
import logging
import uuid
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import grpc
import grpc.aio
import pytest

from clarion.v1 import delivery_pb2, delivery_pb2_grpc
from clarion_client import (
    AsyncClient,
    Change,
    ClarionError,
    Client,
    Delivery,
    DeliveryState,
    Email,
    Forbidden,
    InvalidRequest,
    NotFound,
    TimedOut,
    Unavailable,
)
from tests.contract.conftest import Keys
from tests.kit.cut_connections import losing_answers
from tests.kit.stack import Stack, free_port

pytestmark = pytest.mark.xdist_group("contract")

KINDS = pytest.mark.parametrize("kind", [Client, AsyncClient])
TOMORROW = dt.datetime.now(dt.UTC) + dt.timedelta(days=1)


class Reader:
    """Either client, its answers as lists."""

    def __init__(self, client: Client | AsyncClient) -> None:
        self.client = client

    async def get(self, trigger_id: str) -> Delivery:
        if isinstance(self.client, AsyncClient):
            return await self.client.get(trigger_id)
        return await asyncio.to_thread(self.client.get, trigger_id)

    async def find(self, **wanted: Any) -> list[Delivery]:
        if isinstance(self.client, AsyncClient):
            return [delivery async for delivery in self.client.find(**wanted)]
        return await asyncio.to_thread(lambda: list(self.client.find(**wanted)))  # type: ignore[arg-type]

    async def watch(self, **followed: Any) -> list[Change]:
        """Return all changes until their end."""
        if isinstance(self.client, AsyncClient):
            return [change async for change in self.client.watch(**followed)]
        return await asyncio.to_thread(lambda: list(self.client.watch(**followed)))  # type: ignore[arg-type]

    async def close(self) -> None:
        if isinstance(self.client, AsyncClient):
            await self.client.aclose()
        else:
            self.client.close()


def user() -> dict[str, Any]:
    return {"external_id": f"u-{uuid.uuid4()}", "email": "test@test.com"}


@pytest.fixture
async def scheduled(stack: Stack, secrets: Keys) -> list[str]:
    """Return triggers of one user that wait, the newest first."""
    who = user()
    async with AsyncClient(stack.url, secrets.good) as clarion:
        accepted = [await clarion.trigger(Email(44, send_at=TOMORROW, **who)) for _ in range(5)]
    return [one.trigger_id for one in reversed(accepted)]


@KINDS
async def test_one_trigger_pages_of_them_and_their_changes(
    kind: type[Client] | type[AsyncClient], stack: Stack, secrets: Keys, scheduled: list[str]
) -> None:
    reader = Reader(kind(stack.url, secrets.reads))
    one = await reader.get(scheduled[0])
    assert (one.trigger_id, one.campaign_id, one.channel, one.state) == (scheduled[0], 44, "email", "pending")
    assert one.send_at == TOMORROW
    found = await reader.find(external_id=one.external_id, page_size=2)
    assert [delivery.trigger_id for delivery in found] == scheduled
    assert found[0] == one
    assert await reader.find(external_id=one.external_id, state=DeliveryState.DELIVERED) == []
    watching = asyncio.create_task(reader.watch(trigger_ids=scheduled[:2]))
    await cancel(stack, *scheduled[:2])
    async with asyncio.timeout(10):
        changes = await watching
    assert {change.delivery.trigger_id for change in changes if change.delivery.state.is_end} == {
        *scheduled[:2]
    }
    assert (await reader.get(scheduled[0])).cancelled_at
    await reader.close()


async def cancel(stack: Stack, *trigger_ids: str) -> None:
    async with AsyncClient(stack.url, stack.key) as clarion:
        for trigger_id in trigger_ids:
            await clarion.cancel(trigger_id)


async def test_attempts_are_told(stack: Stack) -> None:
    async with AsyncClient(stack.url, stack.key) as clarion:
        accepted = await clarion.trigger_email(44, **user())
        async with asyncio.timeout(10):
            *_, last = [change async for change in clarion.watch(trigger_ids=[accepted.trigger_id])]
    assert last.delivery.state is DeliveryState.DELIVERED
    [attempt] = last.delivery.attempts
    assert (attempt.number, attempt.provider, attempt.outcome, attempt.error) == (
        1,
        "sandbox",
        "delivered",
        "",
    )
    assert 0 < attempt.seconds < 10
    assert attempt.started_at >= last.delivery.accepted_at - dt.timedelta(seconds=1)


async def test_watching_goes_on_where_a_broken_connection_ended_it(
    stack: Stack, secrets: Keys, scheduled: list[str]
) -> None:
    seen: list[str] = []

    async def follow(clarion: AsyncClient, stands: Change) -> None:
        who = stands.delivery.external_id
        async for change in clarion.watch(external_id=who, cursor=stands.cursor):
            seen.append(change.delivery.trigger_id)  # noqa: PERF401 - it is looked at as it grows

    async with losing_answers(stack.port, times=0) as cut, AsyncClient(cut.target, secrets.reads) as clarion:
        stands = await anext(aiter(clarion.watch(trigger_ids=scheduled[:1])))
        following = asyncio.create_task(follow(clarion, stands))
        await cancel(stack, scheduled[0])
        await until(seen, 1)
        cut.break_all()
        await cancel(stack, *scheduled[1:3])  # while nobody listens
        await until(seen, 3)
        await clarion.aclose()
        await following  # it ends with the client
    assert [*dict.fromkeys(seen)] == scheduled[:3]


async def until(seen: list[str], count: int) -> None:
    async with asyncio.timeout(10):
        while len({*seen}) < count:
            await asyncio.sleep(0.01)


async def test_a_watching_that_is_left_ends_with_its_client(stack: Stack, secrets: Keys) -> None:
    loop = asyncio.get_running_loop()
    clarion = AsyncClient(stack.url, secrets.reads)
    waiting = asyncio.ensure_future(anext(aiter(clarion.watch(campaign_id=46, external_id="nobody"))))
    await asyncio.sleep(0.2)
    begun = loop.time()
    await clarion.aclose()
    with pytest.raises(StopAsyncIteration):
        await waiting
    assert loop.time() - begun < 1


@KINDS
async def test_what_cannot_be_read_is_refused(
    kind: type[Client] | type[AsyncClient], stack: Stack, secrets: Keys
) -> None:
    reader, blind = Reader(kind(stack.url, secrets.reads)), Reader(kind(stack.url, secrets.held_to_45))
    nobodys = str(uuid.uuid4())
    refused: list[tuple[type[ClarionError], Coroutine[Any, Any, object]]] = [
        (NotFound, reader.get(nobodys)),
        (NotFound, reader.watch(trigger_ids=[nobodys])),
        (InvalidRequest, reader.get("7")),
        (InvalidRequest, reader.find(page_size=501)),
        (InvalidRequest, reader.watch(cursor="x")),
        (Forbidden, blind.get(nobodys)),
        (Forbidden, blind.find()),
        (Forbidden, blind.watch()),
    ]
    for error, call in refused:
        with pytest.raises(error):
            await call
    for wrong in ({"state": "lost"}, {"accepted_since": dt.datetime(2026, 1, 1)}):  # noqa: DTZ001
        with pytest.raises(ValueError, match=next(iter(wrong))):
            await reader.find(**wrong)
    with pytest.raises(TypeError, match="trigger_ids"):
        await reader.watch(trigger_ids=nobodys)
    for one in (reader, blind):
        await one.close()


class Slow(delivery_pb2_grpc.DeliveryServiceServicer):
    """Finds that a page takes too long; keeps the seconds that it was given."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def ListTriggers(self, request: Any, context: Any) -> Any:  # noqa: N802 - gRPC's name
        self.seconds.append(context.time_remaining())
        await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "ask for less")


@KINDS
async def test_a_page_may_take_the_whole_time_and_is_not_asked_for_again(
    kind: type[Client] | type[AsyncClient],
) -> None:
    slow, server = Slow(), grpc.aio.server()
    delivery_pb2_grpc.add_DeliveryServiceServicer_to_server(slow, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    reader = Reader(kind(f"127.0.0.1:{port}", "sk_x", timeout=20))
    try:
        with pytest.raises(TimedOut):
            await reader.find()
    finally:
        await reader.close()
        await server.stop(None)
    assert slow.seconds == [pytest.approx(20, abs=5)]


class Late(delivery_pb2_grpc.DeliveryServiceServicer):
    """Tells one change, and ends."""

    async def WatchTriggers(self, request: Any, context: Any) -> AsyncIterator[Any]:  # noqa: N802 - gRPC's name
        told = delivery_pb2.Delivery(trigger_id="id", state=delivery_pb2.DELIVERY_STATE_DELIVERED)
        yield delivery_pb2.WatchTriggersResponse(delivery=told, cursor="c")


async def test_watching_outlasts_any_outage_and_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "clarion_client")
    port, server = free_port(), grpc.aio.server()
    delivery_pb2_grpc.add_DeliveryServiceServicer_to_server(Late(), server)
    readers = [Reader(kind(f"127.0.0.1:{port}", "sk_x", timeout=0.1)) for kind in (Client, AsyncClient)]
    watching = [asyncio.create_task(reader.watch()) for reader in readers]
    await asyncio.sleep(0.3)  # longer than any call of this client may take
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    try:
        async with asyncio.timeout(10):
            changes = await asyncio.gather(*watching)
    finally:
        await server.stop(None)
        await asyncio.gather(*(reader.close() for reader in readers))
    assert [[change.cursor for change in told] for told in changes] == [["c"], ["c"]]
    said = [record.getMessage() for record in caplog.records if record.name == "clarion_client"]
    assert [f":{port}" in one for one in said] == [True, True]


async def test_watching_where_nobody_answers_ends_after_its_patience() -> None:
    with Client(f"127.0.0.1:{free_port()}", "sk_x") as clarion, pytest.raises(Unavailable):
        await asyncio.to_thread(lambda: list(itertools.islice(clarion.watch(timeout=0.3), 1)))
