"""Batches: each trigger judged as a call for it alone, all that are good kept in one commit."""

from __future__ import annotations

import asyncio
import datetime as dt
import uuid
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any

from buf.validate import validate_pb2
from clarion.v1 import trigger_pb2 as pb

from ..domain.limit import RateLimiter
from ..errors import IdempotencyKeyReused, InvalidRequest, RequestError, Violation
from .batch_body import parse_item, split
from .guard import caller, idempotency_header, traceparent
from .idempotency import FIELD, HEADER
from .judging import Judge, Ready
from .ports import Catalog, Writer
from .rate_limit import take_tokens
from .rules import required
from .status import to_status

__all__ = ["MAX_TRIGGERS", "Batches"]

_TRIGGERS = "triggers"
_RULES: Any = validate_pb2.field  # its .pyi file predates typed extensions
MAX_TRIGGERS: int = (
    pb.BatchTriggerRequest.DESCRIPTOR.fields_by_name[_TRIGGERS]
    .GetOptions()
    .Extensions[_RULES]
    .repeated.max_items
)
"""As the protos say it."""
_AT_A_TIME = 100
"""So many items are judged before other calls get their turn."""
_NOTHING = Violation("", "asks for nothing: give it one of email, text and push", "REQUIRED")


class Batches:
    """Takes batches of one kind or the other."""

    def __init__(self, catalog: Catalog, writer: Writer, limits: RateLimiter) -> None:
        """Take where campaigns are looked up, where triggers are made durable, and what bounds callers."""
        self._catalog = catalog
        self._writer = writer
        self._limits = limits

    async def typed(self, items: Sequence[pb.BatchItem]) -> list[pb.BatchOutcome]:
        """Take typed items; return an outcome for each.

        Raises:
            RequestError: the batch as such is wrong, or nothing of it can be kept now.
        """
        _check_batch(len(items))
        return await self._take([partial(_judge_typed, item=item) for item in items])

    async def rest(self, data: bytes) -> list[pb.BatchOutcome]:
        """Take a REST body; return an outcome for each of its items.

        Raises:
            RequestError: the batch as such is wrong, or nothing of it can be kept now.
        """
        items = split(data)
        _check_batch(len(items))
        return await self._take([partial(_judge_rest, data=bytes(item)) for item in items])

    async def _take(self, items: Sequence[Callable[[Judge], Ready]]) -> list[pb.BatchOutcome]:
        """Judge as many items as the caller's limits let it; the guard has counted the first."""
        more, exceeded = take_tokens(self._limits, self._catalog, caller(), len(items) - 1)
        allowed = items[: 1 + more]
        results: list[Ready | RequestError] = [one async for one in self._judged(allowed)]
        if exceeded:
            results += [exceeded] * (len(items) - len(allowed))
        return _outcomes(results, await self._kept(results))

    async def _judged(self, items: Sequence[Callable[[Judge], Ready]]) -> AsyncIterator[Ready | RequestError]:
        judge = Judge(self._catalog, caller(), traceparent(), dt.datetime.now(dt.UTC))
        for count, item in enumerate(items, start=1):
            try:
                yield item(judge)
            except RequestError as error:
                yield error
            if count % _AT_A_TIME == 0:
                await asyncio.sleep(0)

    async def _kept(self, results: Sequence[Ready | RequestError]) -> dict[int, uuid.UUID | Exception | None]:
        """Keep what is good; return by index what became of it. None: its moment has passed."""
        late = {index: one for index, one in enumerate(results) if isinstance(one, Ready) and one.too_late}
        told = await self._earlier(late.values())  # first: if it fails, nothing was accepted
        good = {
            index: one for index, one in enumerate(results) if isinstance(one, Ready) and index not in late
        }
        kept = await self._writer.add_all([ready.entry for ready in good.values()])
        return {**dict(zip(late, told, strict=True)), **dict(zip(good, kept, strict=True))}

    async def _earlier(self, late: Collection[Ready]) -> Sequence[uuid.UUID | Exception | None]:
        asked = [(ready.trigger, ready.once) for ready in late if ready.once]  # all have a key
        return await self._writer.earlier(asked) if asked else []


def _check_batch(count: int) -> None:
    """Refuse what is wrong with a batch as such.

    Raises:
        InvalidRequest: all of it.
    """
    violations = []
    if not count:
        violations.append(required(_TRIGGERS))
    elif count > MAX_TRIGGERS:
        description = f"has {count} items, at most {MAX_TRIGGERS} are taken"
        violations.append(Violation(_TRIGGERS, description, "OUT_OF_RANGE"))
    if idempotency_header() is not None:
        description = f"is not taken by a batch: give each trigger a {FIELD} of its own"
        violations.append(Violation(HEADER, description, "UNKNOWN_FIELD"))
    if violations:
        raise InvalidRequest(violations)


def _judge_typed(judge: Judge, item: pb.BatchItem) -> Ready:
    kind = item.WhichOneof("trigger")
    if kind is None:
        raise InvalidRequest([_NOTHING])
    return judge.typed(getattr(item, kind))


def _judge_rest(judge: Judge, data: bytes) -> Ready:
    item = parse_item(data)
    if any(violation.field == "" for violation in item.body.violations):
        raise InvalidRequest(item.body.violations)
    return judge.rest(item.campaign_id, item.body, request_id=item.request_id)


def _outcomes(
    results: Sequence[Ready | RequestError], kept: Mapping[int, uuid.UUID | Exception | None]
) -> list[pb.BatchOutcome]:
    return [
        pb.BatchOutcome(index=index, error=to_status(one))
        if isinstance(one, RequestError)
        else _outcome(index, one, kept[index])
        for index, one in enumerate(results)
    ]


def _outcome(index: int, ready: Ready, kept: uuid.UUID | Exception | None) -> pb.BatchOutcome:
    if isinstance(kept, uuid.UUID):
        replayed = kept != ready.trigger.id
        return pb.BatchOutcome(index=index, trigger_id=str(kept), replayed=replayed)
    return pb.BatchOutcome(index=index, error=to_status(_refusal(ready, kept)))


def _refusal(ready: Ready, error: Exception | None) -> RequestError:
    """Return what the caller is told of an item that was good, and yet is not kept."""
    if error is None:
        return InvalidRequest([ready.too_late] if ready.too_late else [])
    if isinstance(error, IdempotencyKeyReused):
        return ready.refused(error)
    # The writer has logged it.
    return RequestError("A fault in Clarion; it is logged.", metadata={"trigger_id": str(ready.trigger.id)})
