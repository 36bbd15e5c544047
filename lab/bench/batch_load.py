"""What sends batches, and the bare INSERT beside them: ready-made, so that sending takes next to nothing."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import asyncpg
import grpc
import uuid_utils

from clarion.v1 import trigger_pb2 as pb

from .load import head_of
from .plan import BenchError

__all__ = ["Batches", "Inserts", "Send", "Sent", "by_grpc", "by_rest", "rest_body", "until"]

_PATH = "/api/client/triggers:batch"
_METHOD = "/clarion.v1.TriggerService/BatchTrigger"
_MARK = b"BATCHNUMBER!"  # as long as what takes its place
Send: TypeAlias = Callable[[], Awaitable[int]]
"""Sends one batch; returns how many triggers were accepted."""


@dataclass(frozen=True, slots=True)
class Sent:
    """What was accepted in how many seconds, and the CPU seconds of sending it."""

    triggers: int
    seconds: float
    loader_cpu: float


async def until(seconds: float, *senders: Send) -> Sent:
    """Send batches side by side for so long."""
    began, cpu = time.monotonic(), time.process_time()
    counts = await asyncio.gather(*(_repeat(send, began + seconds) for send in senders))
    return Sent(sum(counts), time.monotonic() - began, time.process_time() - cpu)


async def _repeat(send: Send, end: float) -> int:
    count = 0
    while time.monotonic() < end:
        count += await send()
    return count


def _user(number: int) -> dict[str, str]:
    """Return a user like that of the documented example, with an address of its own."""
    name = f"user.{number:04}"
    return {
        "external_id": f"ext-{number:04}",
        "email": f"{name}@example.com",
        "timezone": "America/Chicago",
        "locale": "en",
    }


def rest_body(count: int, *, keys: bool) -> bytes:
    """Return a batch; its `request_id`s, if it has some, are of one batch once the mark is replaced."""
    event = {"random_field": "value"}
    items = [{"campaign_id": 44, "user": _user(number), "event": event} for number in range(count)]
    for number, item in enumerate(items if keys else ()):
        item["request_id"] = f"{_MARK.decode()}-{number:04}"
    return json.dumps({"triggers": items}).encode()


class Batches:
    """One keep-alive connection to the gateway."""

    def __init__(self, port: int, key: str, body: bytes, count: int, numbers: itertools.count[int]) -> None:
        self._count = count
        self._body = body
        self._numbers = numbers
        self._port = port
        self._head = head_of(_PATH, key, len(body))
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def send(self) -> int:
        """Send a batch; all of it must be accepted.

        Raises:
            BenchError: it was not.
        """
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port, limit=2**20)
        reader, writer = self._streams
        writer.write(self._head + self._body.replace(_MARK, b"%012d" % next(self._numbers)))
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
        answer = await reader.readexactly(length)
        if head[9:12] != b"200" or answer.count(b'"trigger_id"') != self._count or b'"error"' in answer:
            raise BenchError(f"a good batch is answered with {head[9:12].decode()}: {answer[:300].decode()}")
        return self._count

    def close(self) -> None:
        """Close the connection."""
        if self._streams:
            self._streams[1].close()


def by_rest(port: int, key: str, count: int, *, keys: bool, senders: int) -> list[Batches]:
    """Return senders of batches, each with a connection of its own."""
    body, numbers = rest_body(count, keys=keys), itertools.count(time.time_ns() % 10**11)
    return [Batches(port, key, body, count, numbers) for _ in range(senders)]


def by_grpc(channel: grpc.aio.Channel, key: str, count: int) -> Send:
    """Return what sends a typed batch, serialized once."""
    items = [
        pb.BatchItem(
            email=pb.TriggerEmailRequest(
                campaign_id=44, user=pb.EmailUser(**_user(number)), event='{"random_field": "value"}'
            )
        )
        for number in range(count)
    ]
    raw = pb.BatchTriggerRequest(triggers=items).SerializeToString()
    call: Any = channel.unary_unary(_METHOD, response_deserializer=pb.BatchTriggerResponse.FromString)

    async def send() -> int:
        answer = await call(raw, metadata=(("authorization", f"Bearer {key}"),))
        if len(answer.outcomes) != count or not all(one.trigger_id for one in answer.outcomes):
            raise BenchError(f"a good batch is answered with {answer.outcomes[0]}")
        return count

    return send


class Inserts:
    """Batched INSERTs of the same rows on one connection, and nothing else."""

    _COLUMNS = (
        "id, project_id, campaign_id, channel, external_id, address, timezone, locale, user_data, event,"
        " traceparent"
    )
    _ROWS = (
        "unnest($1::uuid[], $2::int8[], $3::int8[], $4::text[], $5::text[], $6::text[], $7::text[],"
        " $8::text[], $9::text[], $10::text[], $11::text[])"
    )
    _ALONE = f"INSERT INTO trigger ({_COLUMNS}) SELECT * FROM {_ROWS}"  # noqa: S608 - constants only
    _BOTH = f"""
        WITH kept AS ({_ALONE} RETURNING id)
        INSERT INTO queue (trigger_id, lane) SELECT id, 'email/sandbox' FROM kept
    """  # noqa: S608 - constants only

    def __init__(self, connection: asyncpg.Connection, count: int, *, queue: bool) -> None:
        self._connection = connection
        self._count = count
        self._sql = self._BOTH if queue else self._ALONE
        users = [_user(number) for number in range(count)]
        texts = [[user[name] for user in users] for name in ("external_id", "email", "timezone", "locale")]
        events = ['{"random_field": "value"}'] * count
        self._columns = (
            *([1] * count, [44] * count, ["email"] * count),
            *(*texts, [""] * count, events, [""] * count),
        )

    async def send(self) -> int:
        """Insert one batch under new ids, in one commit."""
        ids = [str(uuid_utils.uuid7()) for _ in range(self._count)]
        await self._connection.execute(self._sql, ids, *self._columns)
        return self._count
