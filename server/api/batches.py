"""Batches: each item is validated like a single call, and all valid triggers are stored in one commit.

A trigger is late if its `send_at` has passed. It is accepted only if it repeats an earlier call: if a trigger
with the same idempotency key exists (see `late_violation`).
"""

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
from .rejection import INTERNAL_MESSAGE
from .status import to_status

__all__ = ["Batches"]

ItemT = TypeVar("ItemT")
Outcomes: TypeAlias = Any
"""Either the protobuf field `BatchTriggerResponse.outcomes` or JsonOutcomes."""
Validated: TypeAlias = "ValidTrigger | status_pb2.Status"
Committed: TypeAlias = "uuid.UUID | Exception | None"
"""The trigger's ID, the error that prevented the commit, or None if the trigger is late and its idempotency
key is new."""
Accept: TypeAlias = Callable[[Caller, ItemT], ValidTrigger | Awaitable[ValidTrigger]]
"""Validates one item. Returns an awaitable for a large item, which is parsed in a thread."""
_SLICE_SECONDS = 0.004
"""How long items are validated before the event loop may serve other calls."""
_NO_TRIGGER = Violation("", "must set one of email, text or push", "REQUIRED")


class Batches:
    """Accepts batches of protobuf messages (gRPC) and of JSON objects (REST)."""

    def __init__(self, catalog: Catalog, writer: Writer, limits: RateLimiter) -> None:
        """Create the batch handler.

        Args:
            catalog: Looks up campaigns.
            writer: Commits triggers.
            limits: The rate limits. Each item takes one token.
        """
        self._catalog = catalog
        self._writer = writer
        self._limits = limits

    async def typed(self, call: Call, items: Sequence[pb.BatchItem], outcomes: Outcomes) -> None:
        """Accept the items of a gRPC batch and add the outcome of each to `outcomes`.

        Raises:
            RequestError: The batch as a whole is invalid, or nothing can be committed now.
        """
        await self._accept(call, items, _accept_typed, outcomes)

    async def rest(self, call: Call, data: bytes, outcomes: Outcomes) -> None:
        """Accept the items of a JSON body and add the outcome of each to `outcomes`.

        Raises:
            RequestError: The batch as a whole is invalid, or nothing can be committed now.
        """
        await self._accept(call, await split(data), _accept_rest, outcomes)

    async def _accept(
        self, call: Call, items: Sequence[ItemT], accept: Accept[ItemT], outcomes: Outcomes
    ) -> None:
        """Accept as many items as the rate limits allow.

        The guard has already taken a token for the call, which pays for the first item.
        """
        _check_batch(call, len(items))
        taken, exceeded = take_tokens(self._limits, self._catalog, call.key, len(items) - 1)
        caller = call.caller(self._catalog)
        validated = await _validate(items[: 1 + taken], partial(accept, caller))
        if exceeded:
            validated += [to_status(exceeded)] * (len(items) - len(validated))
        valid = [item for item in validated if isinstance(item, ValidTrigger)]
        late = [late_violation(item.trigger, caller.now) for item in valid]
        committed = await self._commit(valid, late)
        _add_outcomes(validated, zip(committed, late, strict=True), outcomes)

    async def _commit(
        self, valid: Sequence[ValidTrigger], late: Sequence[Violation | None]
    ) -> list[Committed]:
        """Commit the triggers that are not late, and look up the earlier trigger of each late one.

        Args:
            valid: The triggers.
            late: For each trigger, its violation if it is late.
        """
        if not any(late):
            return list(await self._writer.add_all(valid))
        pairs = list(zip(valid, late, strict=True))
        # A trigger without an idempotency key is not valid if it is late, so every late trigger has a key.
        late_keys = [(item.trigger, item.key) for item, violation in pairs if violation and item.key]
        # Look up first: if the look-up fails, nothing has been accepted.
        earlier = iter(await self._writer.earlier(late_keys))
        committed = iter(await self._writer.add_all([item for item, violation in pairs if not violation]))
        return [next(earlier if violation else committed) for violation in late]


async def _validate(
    items: Sequence[ItemT], accept: Callable[[ItemT], ValidTrigger | Awaitable[ValidTrigger]]
) -> list[Validated]:
    """Validate the items in order, and let the event loop serve other calls in between."""
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
        InvalidRequest: The batch is empty or has an idempotency key, or has too many items.
    """
    check_count(count)
    violations = [] if count else [required("triggers")]
    if call.idempotency_key is not None:
        description = f"is not accepted by batch calls; set {FIELD} in each trigger instead"
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
        raise BodyTooLarge(f"The item has {len(data)} bytes; at most {MAX_MESSAGE_BYTES} are allowed.")
    return accept_item(caller, data)


def _add_outcomes(
    validated: Sequence[Validated],
    committed: Iterator[tuple[Committed, Violation | None]],
    outcomes: Outcomes,
) -> None:
    """Add the outcome of each item to `outcomes`, in the order of the request.

    Args:
        validated: For each item, its trigger, or the status with which it was rejected.
        committed: For each valid trigger, the result of the commit and, if it is late, its violation.
        outcomes: The outcomes of the response.
    """
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
            outcomes.add(index=index, error=to_status(_commit_error(valid, result, late)))


def _commit_error(valid: ValidTrigger, error: Exception | None, late: Violation | None) -> RequestError:
    """Return the error to report for a valid trigger that was not committed."""
    if error is None:
        return InvalidRequest([late] if late else [])
    if isinstance(error, IdempotencyKeyReused):
        return reused(error, FIELD)
    if isinstance(error, RequestError):
        return error
    return RequestError(
        INTERNAL_MESSAGE, metadata={"trigger_id": str(valid.trigger.id)}
    )  # the writer has logged it
