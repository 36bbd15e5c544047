"""The Python client against the running product: results, errors, and idempotency."""

from __future__ import annotations

import asyncio
import datetime as dt
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc.aio
import pytest

from clarion.v1 import trigger_pb2, trigger_pb2_grpc
from clarion_client import (
    Accepted,
    AsyncClient,
    ClarionError,
    Client,
    CredentialsRefused,
    Email,
    InvalidRequest,
    Message,
    NotFound,
    Push,
    RequestIdReused,
    Text,
    TimedOut,
    TooLarge,
    TooLateToCancel,
    Unavailable,
)
from server.store.pool import Pool
from tests.contract.conftest import OTHERS_CAMPAIGN, PAUSED_CAMPAIGN, Keys
from tests.kit.cases import each_case
from tests.kit.cut_connections import losing_answers
from tests.kit.http_client import PATIENCE
from tests.kit.stack import Stack, free_port

USER: Any = {"external_id": "u-1", "email": "test@test.com"}
TEXT: Any = {"external_id": "u-1", "phone": "+12025550123"}
PUSH: Any = {"external_id": "u-1", "device_token": "abcdefgh"}
WAYS = ("sync", "async", "coalesced")
Trigger = Callable[[Message], Awaitable[Accepted]]


@pytest.fixture(params=WAYS)
async def clarion(request: pytest.FixtureRequest, stack: Stack, secrets: Keys) -> AsyncIterator[Trigger]:
    """Return the `trigger` call of each kind of client."""
    async with triggering(request.param, stack.url, secrets.good) as trigger:
        yield trigger


def triggering(way: str, target: str, key: str, **settings: Any) -> Any:
    return _Triggering(way, target, key, settings)


class _Triggering:
    """A client of one kind, as an async context manager that returns its `trigger` call."""

    def __init__(self, way: str, target: str, key: str, settings: dict[str, Any]) -> None:
        settings = {"timeout": PATIENCE, **settings}
        coalesce = {} if way == "sync" else {"coalesce": way == "coalesced"}
        kind: Any = Client if way == "sync" else AsyncClient
        self.client = kind(target, key, **coalesce, **settings)

    async def __aenter__(self) -> Trigger:
        return self.trigger

    async def __aexit__(self, *_: object) -> None:
        if isinstance(self.client, Client):
            self.client.close()
        else:
            await self.client.aclose()

    async def trigger(self, message: Message) -> Accepted:
        if isinstance(self.client, Client):
            return await asyncio.to_thread(self.client.trigger, message)
        accepted: Accepted = await self.client.trigger(message)
        return accepted


async def count_stored(pool: Pool, mark: str) -> int:
    """Return the number of stored triggers with this mark in their event."""
    return int(await pool.fetchval("SELECT count(*) FROM trigger WHERE event LIKE $1", f"%{mark}%"))


@pytest.mark.parametrize(
    "message", [Email(44, **USER), Text(45, **TEXT), Push(46, **PUSH)], ids=["email", "text", "push"]
)
async def test_trigger_on_every_channel(clarion: Trigger, message: Message) -> None:
    accepted = await clarion(message)
    assert uuid.UUID(accepted.trigger_id)


async def test_event_is_stored_exactly(clarion: Trigger, pool: Pool) -> None:
    event = {"order_id": 10**30, "name": "Łukasz", "share": 0.1}
    accepted = await clarion(Email(44, event=event, **USER))
    text = await pool.fetchval("SELECT event FROM trigger WHERE id = $1", uuid.UUID(accepted.trigger_id))
    assert text == f'{{"order_id":{10**30},"name":"Łukasz","share":0.1}}'


async def test_same_message_is_the_same_trigger(clarion: Trigger) -> None:
    message = Email(44, **USER)
    first, again = await clarion(message), await clarion(message)
    assert (again.trigger_id, first.replayed, again.replayed) == (first.trigger_id, False, True)


BAD: dict[str, tuple[Message, type[ClarionError], dict[str, str]]] = {
    "missing": (Email(44, external_id="", email=""), InvalidRequest, {}),
    "unknown campaign": (Email(999, **USER), NotFound, {"campaign_id": "999"}),
    "another project's": (Email(OTHERS_CAMPAIGN, **USER), NotFound, {"campaign_id": str(OTHERS_CAMPAIGN)}),
    "paused": (Email(PAUSED_CAMPAIGN, **USER), ClarionError, {"campaign_id": str(PAUSED_CAMPAIGN)}),
    "wrong channel": (Email(45, **USER), InvalidRequest, {}),
    "broken JSON": (Email(44, event="{", **USER), InvalidRequest, {}),
    "too large": (Email(44, event="x" * 300_000, **USER), TooLarge, {}),
}


@each_case("case", BAD)
async def test_rejection_is_an_exception_with_details(clarion: Trigger, case: str) -> None:
    message, kind, metadata = BAD[case]
    with pytest.raises(kind) as caught:
        await clarion(message)
    error = caught.value
    assert error.metadata == metadata
    assert error.request_id == message.request_id
    assert error.reason
    if kind is InvalidRequest:
        assert all(v.field and v.description and v.reason for v in error.violations)
        assert error.violations[0].field in str(error)


async def test_request_id_cannot_be_reused(clarion: Trigger) -> None:
    order = f"order-{uuid.uuid4()}"
    first = await clarion(Email(44, request_id=order, **USER))
    with pytest.raises(RequestIdReused, match=f"{order}' was used for trigger {first.trigger_id}.*send_at"):
        await clarion(Email(44, request_id=order, event={"other": 1}, **USER))


@pytest.mark.parametrize("way", WAYS)
async def test_invalid_key_is_not_shown(way: str, stack: Stack, secrets: Keys) -> None:
    async with triggering(way, stack.url, secrets.unknown) as trigger:
        with pytest.raises(CredentialsRefused) as caught:
            await trigger(Email(44, **USER))
    shown = repr(caught.value) + repr(caught.value.__cause__) + repr(vars(caught.value))
    assert secrets.unknown not in shown


@pytest.mark.parametrize("way", WAYS)
async def test_lost_response_is_retried_without_a_duplicate(way: str, stack: Stack, pool: Pool) -> None:
    mark = str(uuid.uuid4())
    async with (
        losing_answers(stack.port, times=2) as cut,
        triggering(way, cut.target, stack.key) as trigger,
    ):
        accepted = await trigger(Email(44, event={"mark": mark}, **USER))
    assert accepted.replayed
    assert await count_stored(pool, mark) == 1


@pytest.mark.parametrize("way", WAYS)
async def test_closed_connection_is_reopened(way: str, stack: Stack) -> None:
    async with (
        losing_answers(stack.port, times=0) as cut,
        triggering(way, cut.target, stack.key) as trigger,
    ):
        for _ in range(3):
            assert not (await trigger(Email(44, **USER))).replayed
            cut.break_all()


class Hanging(trigger_pb2_grpc.TriggerServiceServicer):
    """Never answers the first call with each message."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()

    async def TriggerEmail(self, request: Any, context: Any) -> Any:  # noqa: N802 - gRPC's name
        self.calls[request.request_id] += 1
        if self.calls[request.request_id] == 1:
            await asyncio.Event().wait()
        return trigger_pb2.TriggerEmailResponse(trigger_id="id")


async def test_hanging_call_is_retried_within_the_deadline() -> None:
    hanging, server = Hanging(), grpc.aio.server()
    trigger_pb2_grpc.add_TriggerServiceServicer_to_server(hanging, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()

    async def trigger_by(way: str) -> Accepted:
        async with triggering(way, f"127.0.0.1:{port}", "sk_x", timeout=8) as trigger:
            accepted: Accepted = await trigger(Email(44, request_id=way, **USER))
        return accepted

    try:
        accepted = await asyncio.gather(*map(trigger_by, WAYS))
    finally:
        await server.stop(None)
    assert [one.trigger_id for one in accepted] == ["id"] * len(WAYS)
    assert hanging.calls == dict.fromkeys(WAYS, 2)


@pytest.mark.parametrize("way", WAYS)
async def test_unreachable_target_is_named_within_the_deadline(way: str) -> None:
    port = free_port()
    async with triggering(way, f"127.0.0.1:{port}", "sk_x", timeout=0.5) as trigger:
        with pytest.raises((Unavailable, TimedOut), match=f":{port}.*is safe"):
            async with asyncio.timeout(20):  # gRPC's own is longer
                await trigger(Email(44, **USER))


async def test_https_to_a_plain_http_port_is_explained(stack: Stack) -> None:
    async with AsyncClient(f"https://127.0.0.1:{stack.port}", "sk_x", timeout=3) as clarion:
        with pytest.raises((Unavailable, TimedOut), match=r"does not speak TLS.*use http://"):
            await clarion.cancel("id")


async def test_only_unsent_triggers_can_be_cancelled(stack: Stack) -> None:
    tomorrow = dt.datetime.now(dt.UTC) + dt.timedelta(days=1)
    async with AsyncClient(stack.url, stack.key) as clarion:
        later = await clarion.trigger_email(44, send_at=tomorrow, **USER)
        await clarion.cancel(later.trigger_id)
        await clarion.cancel(later.trigger_id)
        with pytest.raises(NotFound):
            await clarion.cancel(str(uuid.uuid4()))
        sent = await clarion.trigger_email(44, **USER)
        async for _ in clarion.watch(trigger_ids=[sent.trigger_id]):
            pass  # ends when the delivery has ended
        with pytest.raises(TooLateToCancel):
            await clarion.cancel(sent.trigger_id)


def test_threads_can_share_a_client(stack: Stack) -> None:
    with Client(stack.url, stack.key) as clarion:
        messages = [Text(45, **TEXT) for _ in range(40)]
        with ThreadPoolExecutor(8) as threads:
            accepted = list(threads.map(clarion.trigger, messages))
    assert len({one.trigger_id for one in accepted}) == 40


async def test_async_client_belongs_to_one_loop(stack: Stack) -> None:
    async with AsyncClient(stack.url, stack.key) as clarion:
        await clarion.trigger_email(44, **USER)

        def elsewhere() -> None:
            with pytest.raises(RuntimeError, match="another event loop"):
                asyncio.run(clarion.trigger_email(44, **USER))

        await asyncio.to_thread(elsewhere)


async def test_closing_sends_pending_messages(stack: Stack) -> None:
    clarion = AsyncClient(stack.url, stack.key)
    waiting = asyncio.create_task(clarion.trigger_email(44, **USER))
    await asyncio.sleep(0)  # the task hands its message to the client
    await clarion.aclose()
    assert uuid.UUID((await waiting).trigger_id)
    with pytest.raises(RuntimeError, match="closed"):
        await clarion.trigger_email(44, **USER)
