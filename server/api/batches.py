"""Batches: each trigger judged as a call for it alone, all that are good kept in one commit."""

from __future__ import annotations

import asyncio
import datetime as dt
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, TypeAlias, TypeVar

import msgspec
from google.rpc import status_pb2

from clarion.v1 import trigger_pb2 as pb

from ..domain.limit import RateLimiter
from ..domain.ports import Catalog, Writer
from ..errors import BodyTooLarge, IdempotencyKeyReused, InvalidRequest, RequestError, Violation
from ..intake.batch_body import Item, check_count, parse_item, split
from ..intake.fast import FastPath
from ..intake.idempotency_key import FIELD, HEADER
from ..intake.offload import run_in_thread
from ..intake.rules import required
from ..intake.validate import TriggerValidator, ValidTrigger
from .guard import MAX_MESSAGE_BYTES, caller, idempotency_header, traceparent
from .rate_limit import take_tokens
from .status import to_status

__all__ = ["Batches"]

_TRIGGERS = "triggers"
T = TypeVar("T")
Outcomes: TypeAlias = Any
"""Protobuf's repeated field of BatchOutcome, or JsonOutcomes."""
Judged: TypeAlias = "ValidTrigger | status_pb2.Status"
CommitResult: TypeAlias = "uuid.UUID | Exception | None"
"""What became of a good item; None: it would only have been right if it had repeated an earlier one."""
Judging: TypeAlias = Callable[[T], ValidTrigger | Awaitable[ValidTrigger]]
"""Judges an item, a large one apart."""
_LARGE = 16 * 1024
"""Bytes of an item that is read apart, if it is not plain: the worst take 10 ms for so many."""
_TURN_SECONDS = 0.004
"""So long items are judged before other calls get their turn."""
_NOTHING = Violation("", "asks for nothing: give it one of email, text and push", "REQUIRED")


class Batches:
    """Takes batches of one kind or the other."""

    def __init__(self, catalog: Catalog, writer: Writer, limits: RateLimiter) -> None:
        """Take where campaigns are looked up, where triggers are made durable, and what bounds callers."""
        self._catalog = catalog
        self._writer = writer
        self._limits = limits

    async def typed(self, items: Sequence[pb.BatchItem], outcomes: Outcomes) -> None:
        """Take typed items; add an outcome for each.

        Raises:
            RequestError: the batch as such is wrong, or nothing of it can be kept now.
        """
        await self._take(items, _typed, outcomes)

    async def rest(self, data: bytes, outcomes: Outcomes) -> None:
        """Take a REST body; add an outcome for each of its items.

        Raises:
            RequestError: the batch as such is wrong, or nothing of it can be kept now.
        """
        await self._take(await split(data), _rest, outcomes)

    async def _take(
        self, items: Sequence[T], judging: Callable[[TriggerValidator], Judging[T]], outcomes: Outcomes
    ) -> None:
        """Take as many items as the caller's limits let it; the guard has counted the first."""
        _check_batch(len(items))
        more, exceeded = take_tokens(self._limits, self._catalog, caller(), len(items) - 1)
        judge = TriggerValidator(self._catalog, caller(), traceparent(), dt.datetime.now(dt.UTC))
        judged = await _judged(items[: 1 + more], judging(judge))
        if exceeded:
            judged += [to_status(exceeded)] * (len(items) - len(judged))
        _tell(judged, await self._kept([one for one in judged if isinstance(one, ValidTrigger)]), outcomes)

    async def _kept(self, good: Sequence[ValidTrigger]) -> Iterator[CommitResult]:
        """Keep what is good; return what became of each."""
        late = [ready for ready in good if ready.too_late]
        if not late:
            return iter(await self._writer.add_all([ready.entry for ready in good]))
        told = iter(await self._earlier(late))  # first: if it fails, nothing was accepted
        kept = iter(await self._writer.add_all([ready.entry for ready in good if not ready.too_late]))
        return (next(told if ready.too_late else kept) for ready in good)

    async def _earlier(self, late: Sequence[ValidTrigger]) -> Sequence[CommitResult]:
        return await self._writer.earlier([(one.trigger, one.once) for one in late if one.once])  # all have


async def _judged(items: Sequence[T], judge: Judging[T]) -> list[Judged]:
    """Judge one item after the other, and let others have their turn."""
    judged: list[Judged] = []
    end = time.monotonic() + _TURN_SECONDS
    for item in items:
        try:
            one = judge(item)
            judged.append(one if isinstance(one, ValidTrigger) else await one)
        except RequestError as error:
            judged.append(to_status(error))
        if time.monotonic() > end:
            await asyncio.sleep(0)
            end = time.monotonic() + _TURN_SECONDS
    return judged


def _check_batch(count: int) -> None:
    """Refuse what is wrong with a batch as such.

    Raises:
        InvalidRequest: all of it.
    """
    check_count(count)
    violations = [] if count else [required(_TRIGGERS)]
    if idempotency_header() is not None:
        description = f"is not taken by a batch: give each trigger a {FIELD} of its own"
        violations.append(Violation(HEADER, description, "UNKNOWN_FIELD"))
    if violations:
        raise InvalidRequest(violations)


def _typed(judge: TriggerValidator) -> Callable[[pb.BatchItem], ValidTrigger]:
    plain = FastPath(judge)
    return lambda item: plain.typed(item) or _strict_typed(judge, item)


def _rest(judge: TriggerValidator) -> Judging[msgspec.Raw]:
    plain = FastPath(judge)

    def judged(raw: msgspec.Raw) -> ValidTrigger | Awaitable[ValidTrigger]:
        data = bytes(raw)
        if len(data) > MAX_MESSAGE_BYTES:
            message = f"The item has {len(data)} bytes, at most {MAX_MESSAGE_BYTES} are taken: send less."
            raise BodyTooLarge(message)
        if ready := plain.rest(data):
            return ready
        return _large_rest(judge, data) if len(data) > _LARGE else _strict_rest(judge, parse_item(data))

    return judged


def _strict_typed(judge: TriggerValidator, item: pb.BatchItem) -> ValidTrigger:
    kind = item.WhichOneof("trigger")
    if kind is None:
        raise InvalidRequest([_NOTHING])
    return judge.typed(getattr(item, kind))


async def _large_rest(judge: TriggerValidator, data: bytes) -> ValidTrigger:
    return _strict_rest(judge, await run_in_thread(parse_item, data))


def _strict_rest(judge: TriggerValidator, item: Item) -> ValidTrigger:
    whole = [violation for violation in item.body.violations if not violation.field]
    if whole:
        # A call for it alone would be told the same; but what is no object is no body of one.
        raise InvalidRequest(whole, of="item" if whole[0].reason == "WRONG_TYPE" else "body")
    return judge.rest(item.campaign_id, item.body, request_id=item.request_id)


def _tell(judged: Sequence[Judged], kept: Iterator[CommitResult], outcomes: Outcomes) -> None:
    """Add what became of each item."""
    for index, one in enumerate(judged):
        if not isinstance(one, ValidTrigger):
            outcomes.add(index=index, error=one)
        elif isinstance(became := next(kept), uuid.UUID):
            replayed = {} if became is one.trigger.id or became == one.trigger.id else {"replayed": True}
            outcomes.add(index=index, trigger_id=str(became), **replayed)
        else:
            outcomes.add(index=index, error=to_status(_refusal(one, became)))


def _refusal(ready: ValidTrigger, error: Exception | None) -> RequestError:
    """Return what the caller is told of an item that was good, and yet is not kept."""
    if error is None:
        return InvalidRequest([ready.too_late] if ready.too_late else [])
    if isinstance(error, IdempotencyKeyReused):
        return ready.refused(error)
    if isinstance(error, RequestError):
        return error
    # The writer has logged it.
    return RequestError("A fault in Clarion; it is logged.", metadata={"trigger_id": str(ready.trigger.id)})
