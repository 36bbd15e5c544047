"""Batches: each trigger is validated like a call for it alone, and all valid ones are in one commit."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from typing import Any, TypeAlias, TypeVar

import msgspec
from google.rpc import status_pb2

from clarion.v1 import trigger_pb2 as pb

from ..domain.limit import RateLimiter
from ..domain.placement import ValidTrigger
from ..domain.ports import Catalog, Writer
from ..errors import BodyTooLarge, IdempotencyKeyReused, InvalidRequest, RequestError, Violation
from ..intake.accept import accept_item, accept_message
from ..intake.batch_body import check_count, split
from ..intake.caller import Caller
from ..intake.explain import required
from ..intake.idempotency_key import FIELD, HEADER, reused
from ..intake.send_at import late_violation
from .call import Call
from .guard import MAX_MESSAGE_BYTES
from .rate_limit import take_tokens
from .status import to_status

__all__ = ["Batches"]

ItemT = TypeVar("ItemT")
Outcomes: TypeAlias = Any
"""Protobuf's repeated field of BatchOutcome, or JsonOutcomes."""
Validated: TypeAlias = "ValidTrigger | status_pb2.Status"
Committed: TypeAlias = "uuid.UUID | Exception | None"
"""The trigger's id, or why it was not committed; None if it is late and does not repeat an earlier
trigger."""
Accept: TypeAlias = Callable[[Caller, ItemT], ValidTrigger | Awaitable[ValidTrigger]]
"""Validates an item; a large one in a thread."""
_SLICE_SECONDS = 0.004
"""Time for which items are validated before other calls are served."""
_NO_TRIGGER = Violation("", "must set one of email, text or push", "REQUIRED")


class Batches:
    """Accepts batches of typed requests and of JSON."""

    def __init__(self, catalog: Catalog, writer: Writer, limits: RateLimiter) -> None:
        """Accept batches.

        Args:
            catalog: Where campaigns are looked up.
            writer: What commits triggers.
            limits: The rate limits, which count every item.
        """
        self._catalog = catalog
        self._writer = writer
        self._limits = limits

    async def typed(self, call: Call, items: Sequence[pb.BatchItem], outcomes: Outcomes) -> None:
        """Accept typed items; add the outcome of each.

        Raises:
            RequestError: The batch as a whole is wrong, or nothing can be committed now.
        """
        await self._accept(call, items, _accept_typed, outcomes)

    async def rest(self, call: Call, data: bytes, outcomes: Outcomes) -> None:
        """Accept the items of a JSON body; add the outcome of each.

        Raises:
            RequestError: The batch as a whole is wrong, or nothing can be committed now.
        """
        await self._accept(call, await split(data), _accept_rest, outcomes)

    async def _accept(
        self, call: Call, items: Sequence[ItemT], accept: Accept[ItemT], outcomes: Outcomes
    ) -> None:
        """Accept as many items as the rate limits allow. The guard has counted the first."""
        _check_batch(call, len(items))
        more, exceeded = take_tokens(self._limits, self._catalog, call.key, len(items) - 1)
        caller = call.caller(self._catalog)
        validated = await _validate(items[: 1 + more], partial(accept, caller))
        if exceeded:
            validated += [to_status(exceeded)] * (len(items) - len(validated))
        valid = [one for one in validated if isinstance(one, ValidTrigger)]
        late = [late_violation(one.trigger, caller.now) for one in valid]
        _add_outcomes(validated, zip(await self._commit(valid, late), late, strict=True), outcomes)

    async def _commit(
        self, valid: Sequence[ValidTrigger], late: Sequence[Violation | None]
    ) -> list[Committed]:
        """Commit the triggers that are not late; return what became of each."""
        if not any(late):
            return list(await self._writer.add_all(valid))
        pairs = list(zip(valid, late, strict=True))
        repeated = [(one.trigger, one.key) for one, is_late in pairs if is_late and one.key]  # all have one
        earlier = iter(await self._writer.earlier(repeated))  # first: if it fails, nothing was accepted
        committed = iter(await self._writer.add_all([one for one, is_late in pairs if not is_late]))
        return [next(earlier if is_late else committed) for is_late in late]


async def _validate(
    items: Sequence[ItemT], accept: Callable[[ItemT], ValidTrigger | Awaitable[ValidTrigger]]
) -> list[Validated]:
    """Validate one item after the other, and let other calls be served in between."""
    validated: list[Validated] = []
    end = time.monotonic() + _SLICE_SECONDS
    for item in items:
        try:
            valid = accept(item)
            validated.append(valid if isinstance(valid, ValidTrigger) else await valid)
        except RequestError as error:
            validated.append(to_status(error))
        if time.monotonic() > end:
            await asyncio.sleep(0)
            end = time.monotonic() + _SLICE_SECONDS
    return validated


def _check_batch(call: Call, count: int) -> None:
    """Check a batch as a whole.

    Raises:
        InvalidRequest: Everything that is wrong with it.
    """
    check_count(count)
    violations = [] if count else [required("triggers")]
    if call.idempotency_key is not None:
        description = f"is not taken by a batch: give each trigger a {FIELD} of its own"
        violations.append(Violation(HEADER, description, "UNKNOWN_FIELD"))
    if violations:
        raise InvalidRequest(violations)


def _accept_typed(caller: Caller, item: pb.BatchItem) -> ValidTrigger:
    channel = item.WhichOneof("trigger")
    if channel is None:
        raise InvalidRequest([_NO_TRIGGER])
    return accept_message(caller, getattr(item, channel))


def _accept_rest(caller: Caller, raw: msgspec.Raw) -> ValidTrigger | Awaitable[ValidTrigger]:
    data = bytes(raw)
    if len(data) > MAX_MESSAGE_BYTES:
        raise BodyTooLarge(
            f"The item has {len(data)} bytes, at most {MAX_MESSAGE_BYTES} are allowed: send less."
        )
    return accept_item(caller, data)


def _add_outcomes(
    validated: Sequence[Validated],
    committed: Iterator[tuple[Committed, Violation | None]],
    outcomes: Outcomes,
) -> None:
    """Add the outcome of each item."""
    for index, valid in enumerate(validated):
        if not isinstance(valid, ValidTrigger):
            outcomes.add(index=index, error=valid)
            continue
        result, late = next(committed)
        if isinstance(result, uuid.UUID):
            new_id = valid.trigger.id
            replayed = {} if result is new_id or result == new_id else {"replayed": True}
            outcomes.add(index=index, trigger_id=str(result), **replayed)
        else:
            outcomes.add(index=index, error=to_status(_refusal(valid, result, late)))


def _refusal(valid: ValidTrigger, error: Exception | None, late: Violation | None) -> RequestError:
    """Return the error of an item that was valid and was not committed."""
    if error is None:
        return InvalidRequest([late] if late else [])
    if isinstance(error, IdempotencyKeyReused):
        return reused(error, FIELD)
    if isinstance(error, RequestError):
        return error
    # The writer has logged it.
    return RequestError("A fault in Clarion; it is logged.", metadata={"trigger_id": str(valid.trigger.id)})
