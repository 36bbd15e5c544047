"""Reading deliveries with the Python client: one, pages of them, and watching through broken connections."""

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
from tests.kit.until import until

KINDS = pytest.mark.parametrize("kind", [Client, AsyncClient])
TOMORROW = dt.datetime.now(dt.UTC) + dt.timedelta(days=1)


class Reader:
    """Either client, with lists as results."""

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

    async def watch(self, **watched: Any) -> list[Change]:
        """Return all changes until the watch ends."""
        if isinstance(self.client, AsyncClient):
            return [change async for change in self.client.watch(**watched)]
        return await asyncio.to_thread(lambda: list(self.client.watch(**watched)))  # type: ignore[arg-type]

    async def close(self) -> None:
        if isinstance(self.client, AsyncClient):
            await self.client.aclose()
        else:
            self.client.close()


def user() -> dict[str, Any]:
    return {"external_id": f"u-{uuid.uuid4()}", "email": "test@test.com"}


@pytest.fixture
async def scheduled(stack: Stack, secrets: Keys) -> list[str]:
    """Return the IDs of one user's scheduled triggers, newest first."""
    who = user()
    async with AsyncClient(stack.url, secrets.good) as clarion:
        accepted = [await clarion.trigger(Email(44, send_at=TOMORROW, **who)) for _ in range(5)]
    return [one.trigger_id for one in reversed(accepted)]


@KINDS
async def test_get_find_and_watch(
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
    watch = asyncio.create_task(reader.watch(trigger_ids=scheduled[:2]))
    await cancel(stack, *scheduled[:2])
    async with asyncio.timeout(60):
        changes = await watch
    assert {change.delivery.trigger_id for change in changes if change.delivery.state.is_end} == {
        *scheduled[:2]
    }
    assert (await reader.get(scheduled[0])).cancelled_at
    await reader.close()


async def cancel(stack: Stack, *trigger_ids: str) -> None:
    async with AsyncClient(stack.url, stack.key) as clarion:
        for trigger_id in trigger_ids:
            await clarion.cancel(trigger_id)


async def test_attempts_are_reported(stack: Stack) -> None:
    async with AsyncClient(stack.url, stack.key) as clarion:
        accepted = await clarion.trigger_email(44, **user())
        async with asyncio.timeout(60):
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


async def test_watch_continues_after_a_broken_connection(
    stack: Stack, secrets: Keys, scheduled: list[str]
) -> None:
    seen: list[str] = []

    async def follow(clarion: AsyncClient, first: Change) -> None:
        who = first.delivery.external_id
        async for change in clarion.watch(external_id=who, cursor=first.cursor):
            seen.append(change.delivery.trigger_id)  # noqa: PERF401 - read while it grows

    async with losing_answers(stack.port, times=0) as cut, AsyncClient(cut.target, secrets.reads) as clarion:
        first = await anext(aiter(clarion.watch(trigger_ids=scheduled[:1])))
        following = asyncio.create_task(follow(clarion, first))
        await cancel(stack, scheduled[0])
        await until_seen(seen, 1)
        cut.break_all()
        await cancel(stack, *scheduled[1:3])  # while disconnected
        await until_seen(seen, 3)
        await clarion.aclose()
        await following  # ends because the client is closed
    assert [*dict.fromkeys(seen)] == scheduled[:3]


async def until_seen(seen: list[str], count: int) -> None:
    await until(lambda: len({*seen}) >= count, f"{count} triggers have changed")


async def test_watch_ends_when_its_client_is_closed(stack: Stack, secrets: Keys) -> None:
    clarion = AsyncClient(stack.url, secrets.reads)
    waiting = asyncio.ensure_future(anext(aiter(clarion.watch(campaign_id=46, external_id="unknown"))))
    await asyncio.sleep(0.2)  # it most likely waits for a change by now; it must end in any case
    await clarion.aclose()
    with pytest.raises(StopAsyncIteration):
        await waiting


@KINDS
async def test_invalid_reads_are_rejected(
    kind: type[Client] | type[AsyncClient], stack: Stack, secrets: Keys
) -> None:
    reader, unscoped = Reader(kind(stack.url, secrets.reads)), Reader(kind(stack.url, secrets.held_to_45))
    unknown = str(uuid.uuid4())
    refused: list[tuple[type[ClarionError], Coroutine[Any, Any, object]]] = [
        (NotFound, reader.get(unknown)),
        (NotFound, reader.watch(trigger_ids=[unknown])),
        (InvalidRequest, reader.get("7")),
        (InvalidRequest, reader.find(page_size=501)),
        (InvalidRequest, reader.watch(cursor="x")),
        (Forbidden, unscoped.get(unknown)),
        (Forbidden, unscoped.find()),
        (Forbidden, unscoped.watch()),
    ]
    for error, call in refused:
        with pytest.raises(error):
            await call
    for wrong in ({"state": "lost"}, {"accepted_since": dt.datetime(2026, 1, 1)}):  # noqa: DTZ001
        with pytest.raises(ValueError, match=next(iter(wrong))):
            await reader.find(**wrong)
    with pytest.raises(TypeError, match="trigger_ids"):
        await reader.watch(trigger_ids=unknown)
    for one in (reader, unscoped):
        await one.close()


class Slow(delivery_pb2_grpc.DeliveryServiceServicer):
    """Fails each page with DEADLINE_EXCEEDED, and records the deadline of the call."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def ListTriggers(self, request: Any, context: Any) -> Any:  # noqa: N802 - gRPC's name
        self.seconds.append(context.time_remaining())
        await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "ask for less")


@KINDS
async def test_page_may_use_all_the_time_and_is_not_retried(
    kind: type[Client] | type[AsyncClient],
) -> None:
    slow, server = Slow(), grpc.aio.server()
    delivery_pb2_grpc.add_DeliveryServiceServicer_to_server(slow, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    reader = Reader(kind(f"127.0.0.1:{port}", "sk_x", timeout=600))
    try:
        with pytest.raises(TimedOut):
            await reader.find()
    finally:
        await reader.close()
        await server.stop(None)
    assert slow.seconds == [pytest.approx(600, abs=200)]  # others get half of the time


class Late(delivery_pb2_grpc.DeliveryServiceServicer):
    """Sends one change and ends the stream."""

    async def WatchTriggers(self, request: Any, context: Any) -> AsyncIterator[Any]:  # noqa: N802 - gRPC's name
        delivered = delivery_pb2.Delivery(trigger_id="id", state=delivery_pb2.DELIVERY_STATE_DELIVERED)
        yield delivery_pb2.WatchTriggersResponse(delivery=delivered, cursor="c")


async def test_watch_survives_an_outage_and_logs_it_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "clarion_client")
    port, server = free_port(), grpc.aio.server()
    delivery_pb2_grpc.add_DeliveryServiceServicer_to_server(Late(), server)
    readers = [Reader(kind(f"127.0.0.1:{port}", "sk_x", timeout=0.1)) for kind in (Client, AsyncClient)]
    watches = [asyncio.create_task(reader.watch()) for reader in readers]

    def messages() -> list[str]:
        return [record.getMessage() for record in caplog.records if record.name == "clarion_client"]

    await until(lambda: len(messages()) == 2, "both clients have logged the outage")
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    try:
        async with asyncio.timeout(60):
            changes = await asyncio.gather(*watches)
    finally:
        await server.stop(None)
        await asyncio.gather(*(reader.close() for reader in readers))
    assert [[change.cursor for change in seen] for seen in changes] == [["c"], ["c"]]
    assert [f":{port}" in one for one in messages()] == [True, True]


async def test_watch_of_an_unreachable_target_times_out() -> None:
    with Client(f"127.0.0.1:{free_port()}", "sk_x") as clarion, pytest.raises(Unavailable):
        await asyncio.to_thread(lambda: list(itertools.islice(clarion.watch(timeout=0.3), 1)))
