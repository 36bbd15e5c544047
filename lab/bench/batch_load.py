"""Sends prepared batches, and runs the bare INSERT that they are compared with."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

import asyncpg
import grpc
import uuid_utils

from clarion.v1 import trigger_pb2 as pb

from ..errors import LabError
from ..load import Connection

__all__ = ["Insert", "RestBatch", "Send", "Sent", "grpc_batch", "repeat", "rest_batch_body"]

_PATH = "/api/client/triggers:batch"
_METHOD = "/clarion.v1.TriggerService/BatchTrigger"
_MARK = b"BATCHNUMBER!"  # as long as the number that replaces it
Send: TypeAlias = Callable[[], Awaitable[int]]
"""Sends one batch and returns the number of accepted triggers."""


@dataclass(frozen=True, slots=True)
class Sent:
    """How many triggers were accepted, in how many seconds, and the CPU seconds of sending them."""

    triggers: int
    seconds: float
    loader_cpu: float


async def repeat(seconds: float, senders: Iterable[Send]) -> Sent:
    """Send batches for this many seconds, with all senders at the same time."""
    began, cpu = time.monotonic(), time.process_time()
    counts = await asyncio.gather(*(_repeat(send, began + seconds) for send in senders))
    return Sent(sum(counts), time.monotonic() - began, time.process_time() - cpu)


async def _repeat(send: Send, end: float) -> int:
    count = 0
    while time.monotonic() < end:
        count += await send()
    return count


def _user(number: int) -> dict[str, str]:
    """Return a user like that of the documented example, with a different address for each number."""
    name = f"user.{number:04}"
    return {
        "external_id": f"ext-{number:04}",
        "email": f"{name}@example.com",
        "timezone": "America/Chicago",
        "locale": "en",
    }


def rest_batch_body(count: int, *, keys: bool) -> bytes:
    """Return a batch.

    Args:
        count: number of triggers.
        keys: whether they have a `request_id`, with a mark to be replaced by the batch's number.
    """
    event = {"random_field": "value"}
    items = [{"campaign_id": 44, "user": _user(number), "event": event} for number in range(count)]
    for number, item in enumerate(items if keys else ()):
        item["request_id"] = f"{_MARK.decode()}-{number:04}"
    return json.dumps({"triggers": items}).encode()


class RestBatch:
    """Sends a batch repeatedly on one connection."""

    _numbers = itertools.count(time.time_ns() % 10**11)

    def __init__(self, connection: Connection, count: int, *, keys: bool) -> None:
        """Prepare the batch; the arguments after the connection are those of `rest_batch_body`."""
        self._connection = connection
        self._count = count
        self._request = connection.request(_PATH, rest_batch_body(count, keys=keys))

    async def send(self) -> int:
        """Send the batch.

        Raises:
            LabError: not all of it was accepted.
        """
        answer = await self._connection.send(self._request.replace(_MARK, b"%012d" % next(self._numbers)))
        accepted = answer.body.count(b'"trigger_id"')
        if answer.status != 200 or accepted != self._count or b'"error"' in answer.body:  # noqa: PLR2004
            raise LabError(f"a valid batch was answered with {answer.status}: {answer.body[:300].decode()}")
        return self._count


def grpc_batch(channel: grpc.aio.Channel, key: str, count: int) -> Send:
    """Return a sender of a typed batch, which is serialized once."""
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
            raise LabError(f"a valid batch was answered with {answer.outcomes[0]}")
        return count

    return send


class Insert:
    """Inserts the same rows on one connection, and does nothing else."""

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
        WITH inserted AS ({_ALONE} RETURNING id)
        INSERT INTO queue (trigger_id, lane) SELECT id, 'email/sandbox' FROM inserted
    """  # noqa: S608 - constants only

    def __init__(self, connection: asyncpg.Connection, count: int, *, queue: bool) -> None:
        """Prepare the rows.

        Args:
            connection: a connection to the database.
            count: rows in one statement.
            queue: whether to insert into `queue` as well as `trigger`.
        """
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
        """Insert the rows with new IDs in one commit."""
        ids = [str(uuid_utils.uuid7()) for _ in range(self._count)]
        await self._connection.execute(self._sql, ids, *self._columns)
        return self._count
