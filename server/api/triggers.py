"""TriggerService: accepts triggers, one by one over gRPC and REST and in batches, and cancels them.

The gRPC methods are typed: each channel has its method and its request message.
"""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from typing import Any

from google.api import httpbody_pb2

from clarion.v1 import trigger_pb2 as pb
from clarion.v1 import trigger_pb2_grpc

from ..domain.delivery import DeliveryState
from ..domain.limit import RateLimiter
from ..domain.placement import ValidTrigger
from ..domain.ports import Catalog, Records, Writer
from ..errors import (
    CampaignForbidden,
    DeliveryNotFound,
    IdempotencyKeyReused,
    InvalidRequest,
    TooLateToCancel,
    Violation,
)
from ..intake.accept import accept_body, accept_message
from ..intake.caller import Caller
from ..intake.idempotency_key import FIELD, HEADER, reused
from ..intake.rules import require_valid
from ..intake.send_at import late_violation
from ..intake.typed import TYPED, TriggerRequest, TypedCall
from .access_log import log_change
from .batch_answer import JsonOutcomes
from .batches import Batches
from .call import Call

__all__ = ["TriggerServicer"]

_WAITING = {DeliveryState.PENDING, DeliveryState.RETRYING}
_WHY_TOO_LATE = {
    DeliveryState.SENDING: "is being sent",
    DeliveryState.DELIVERED: "has been delivered",
    DeliveryState.DEAD: "could not be delivered and is a dead letter",
    DeliveryState.SUPPRESSED: "was not sent because its recipient is suppressed",
}


class TriggerServicer(trigger_pb2_grpc.TriggerServiceServicer):
    """Accepts and cancels triggers.

    The typed methods (TriggerEmail, TriggerText, TriggerPush) differ only in their messages, and are added
    below the class.
    """

    def __init__(self, catalog: Catalog, writer: Writer, records: Records, limits: RateLimiter) -> None:
        """Create the service.

        Args:
            catalog: Looks up campaigns.
            writer: Commits triggers.
            records: Finds and cancels triggers.
            limits: The rate limits. Each item of a batch takes one token.
        """
        self._batches = Batches(catalog, writer, limits)
        self._records = records
        self._catalog = catalog
        self._writer = writer

    async def TriggerCampaign(  # noqa: N802 - gRPC's name
        self, request: pb.TriggerCampaignRequest, call: Call
    ) -> pb.TriggerCampaignResponse:
        """Accept a trigger sent over REST."""
        caller, header = call.caller(self._catalog), call.idempotency_key
        valid = accept_body(caller, request.campaign_id, request.body.data, header)
        trigger_id, replayed = await self._commit(caller, valid, HEADER)
        return pb.TriggerCampaignResponse(trigger_id=trigger_id, replayed=replayed)

    async def BatchTrigger(  # noqa: N802 - gRPC's name
        self, request: pb.BatchTriggerRequest, call: Call
    ) -> pb.BatchTriggerResponse:
        """Accept the valid triggers of a batch."""
        answer = pb.BatchTriggerResponse()
        await self._batches.typed(call, request.triggers, answer.outcomes)
        return answer

    async def BatchTriggerCampaigns(  # noqa: N802 - gRPC's name
        self, request: pb.BatchTriggerCampaignsRequest, call: Call
    ) -> httpbody_pb2.HttpBody:
        """Accept the valid triggers of a batch sent over REST."""
        outcomes = JsonOutcomes()
        await self._batches.rest(call, request.body.data, outcomes)
        return outcomes.body()

    async def CancelTrigger(  # noqa: N802 - gRPC's name
        self, request: pb.CancelTriggerRequest, call: Call
    ) -> pb.CancelTriggerResponse:
        """Cancel a trigger of the caller's project."""
        require_valid(request)
        await self._cancel(call, uuid.UUID(request.trigger_id))
        return pb.CancelTriggerResponse(trigger_id=request.trigger_id.lower())

    async def _cancel(self, call: Call, trigger_id: uuid.UUID) -> None:
        """Cancel a waiting trigger. If its state changes after the look-up, look it up again."""
        while (state := await self._state(call, trigger_id)) is not DeliveryState.CANCELLED:
            if state not in _WAITING:
                raise TooLateToCancel(
                    f"The trigger {_WHY_TOO_LATE[state]}; it can no longer be cancelled.",
                    metadata={"trigger_id": str(trigger_id), "state": state.value},
                )
            if await self._records.cancel(trigger_id):
                log_change("trigger cancelled", call, trigger_id=str(trigger_id))
                return
        await self._records.confirm_replicated()  # the earlier call may have failed because this was missing

    async def _state(self, call: Call, trigger_id: uuid.UUID) -> DeliveryState:
        """Return the state of a trigger that the caller may cancel."""
        delivery = await self._records.find_delivery(trigger_id, call.project_id)
        if delivery is None or not call.sees(delivery):
            raise DeliveryNotFound.of(trigger_id)
        if not call.key.may_trigger(delivery.campaign_id):
            raise CampaignForbidden(
                f"The API key may not cancel triggers of campaign {delivery.campaign_id}.",
                metadata={"campaign_id": str(delivery.campaign_id)},
            )
        return delivery.state

    async def _accept_typed(self, request: TriggerRequest, call: Call) -> tuple[str, bool]:
        caller = call.caller(self._catalog)
        valid = accept_message(caller, request, call.idempotency_key)
        return await self._commit(caller, valid, FIELD if request.request_id else HEADER)

    async def _commit(self, caller: Caller, valid: ValidTrigger, key_field: str) -> tuple[str, bool]:
        """Commit a trigger, unless a trigger with the same idempotency key exists.

        Args:
            caller: The caller, with the time of the call.
            valid: The trigger.
            key_field: The field or header that has the idempotency key, named in errors.

        Returns:
            The ID of the new or the existing trigger, and whether it existed.
        """
        late = late_violation(valid.trigger, caller.now)
        try:
            if late:
                return await self._earlier(valid, late), True
            committed = await self._writer.add(*valid)
        except IdempotencyKeyReused as error:
            raise reused(error, key_field) from None
        return str(committed), committed != valid.trigger.id

    async def _earlier(self, valid: ValidTrigger, late: Violation) -> str:
        """Return the ID of the earlier trigger with the same idempotency key.

        Args:
            valid: A trigger whose `send_at` has passed. It is accepted only if it repeats an earlier call.
            late: The violation to raise if it does not.
        """
        assert valid.key is not None  # noqa: S101 - validation rejects late triggers without a key
        (earlier,) = await self._writer.earlier([(valid.trigger, valid.key)])
        if earlier is None:
            raise InvalidRequest([late])
        if isinstance(earlier, Exception):
            raise earlier
        return str(earlier)


def _typed_method(typed: TypedCall) -> Callable[[TriggerServicer, TriggerRequest, Call], Awaitable[Any]]:
    async def method(self: TriggerServicer, request: TriggerRequest, call: Call) -> Any:
        trigger_id, replayed = await self._accept_typed(request, call)
        return typed.response(trigger_id=trigger_id, replayed=replayed)

    return method


for _typed in TYPED.values():
    setattr(TriggerServicer, _typed.method, _typed_method(_typed))
