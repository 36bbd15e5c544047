"""Streams at one server: signs of life, how many there may be, callers that leave, and its end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import grpc
import pytest

from clarion.v1 import delivery_pb2 as pb
from clarion.v1 import delivery_pb2_grpc
from server.api.page_tokens import position_of
from server.api.server import RpcServer
from server.domain.delivery import Position
from server.domain.limit import Limit, RateLimiter
from server.store.catalog import Catalog
from server.store.pool import Pool
from server.store.records.change_feed import ChangeFeed
from tests.kit.documented_errors import check_call, reason_of
from tests.kit.following import until_it_ends
from tests.kit.stack import Stack
from tests.kit.until import until


@dataclass
class Served:
    """A server in this process that lets two of a project watch."""

    server: RpcServer
    catalog: Catalog
    channel: grpc.aio.Channel
    metadata: tuple[tuple[str, str], ...]

    def watch(self, **how: Any) -> Any:
        service: Any = delivery_pb2_grpc.DeliveryServiceStub(self.channel)
        # Of a user that no trigger has: those of earlier tests may still be in progress.
        request = pb.WatchTriggersRequest(external_id="watched-by-this-test")
        return service.WatchTriggers(request, metadata=self.metadata, **how)

    async def refusal(self, call: Any) -> str:
        """Return the reason for which a stream ends."""
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await until_it_ends(call)
        return reason_of(check_call(caught.value))


@pytest.fixture
async def served(stack: Stack, pool: Pool) -> AsyncIterator[Served]:
    catalog = Catalog(pool, interval=0.25, max_age=60, templates=False)
    await catalog.refresh()
    feed = ChangeFeed(pool, max_watchers=4)
    unlimited = RateLimiter(Limit(0, 1), Limit(0, 1))
    nothing: Any = None  # streams neither write nor read records
    server = RpcServer(
        catalog,
        nothing,
        nothing,
        feed,
        deadline=0.2,
        limits=unlimited,
        max_concurrent=1,
        reflect=False,
        note_use=lambda _: None,
        guards={},
    )
    port = await server.start("127.0.0.1:0")
    looking = asyncio.create_task(feed.run())
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield Served(server, catalog, channel, stack.metadata())
    looking.cancel()
    await server.stop(lame_duck=0, grace=0)


async def test_idle_stream_sends_heartbeats_with_newer_cursors(
    served: Served, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.api.watch.HEARTBEAT", 0.3)
    monkeypatch.setattr("server.api.watch._POLL_SECONDS", 0.1)
    call = served.watch(timeout=60)
    positions: list[Position] = []
    # At least four, longer than the deadline of unary calls; autovacuum may delay newer cursors.
    while len(positions) < 4 or positions[-1] <= positions[0]:
        message = await call.read()
        assert not message.HasField("delivery")
        position = position_of(message.cursor)
        assert position
        positions.append(position)
        await pool.execute("SELECT pg_current_xact_id()")
    assert positions == sorted(positions)
    call.cancel()


async def test_watches_above_the_limit_are_rejected(served: Served) -> None:
    calls = [served.watch(), served.watch()]
    for call in calls:
        await call.read()
    assert await served.refusal(served.watch()) == "OVERLOADED"
    calls[0].cancel()

    async def accepted() -> bool:
        another = served.watch()
        try:
            await another.read()
        except grpc.aio.AioRpcError:
            return False
        another.cancel()
        return True

    await until(accepted, "another stream is accepted")
    calls[1].cancel()


async def test_deadline_of_the_caller_ends_its_stream(served: Served) -> None:
    call = served.watch(timeout=0.5)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async for _ in call:
            pass
    assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED


async def test_stopping_server_ends_its_streams(served: Served) -> None:
    call = served.watch()
    await call.read()
    ending = asyncio.create_task(served.server.stop(lame_duck=0, grace=600))  # longer than this test may take
    assert await served.refusal(call) == "SERVER_UNAVAILABLE"
    await ending
