"""TriggerService: typed calls and the REST call, which take the same path, and batches."""

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
from .batch_answer import JsonOutcomes
from .batches import Batches
from .call import Call

__all__ = ["TriggerServicer"]

_WAITING = {DeliveryState.PENDING, DeliveryState.RETRYING}
_WHY_TOO_LATE = {
    DeliveryState.SENDING: "is being sent now",
    DeliveryState.DELIVERED: "is delivered",
    DeliveryState.DEAD: "was given up",
    DeliveryState.SUPPRESSED: "was not sent, its recipient is suppressed",
}


class TriggerServicer(trigger_pb2_grpc.TriggerServiceServicer):
    """Accepts triggers. The typed methods, one for each channel, are added below the class."""

    def __init__(self, catalog: Catalog, writer: Writer, records: Records, limits: RateLimiter) -> None:
        """Serve the methods.

        Args:
            catalog: Where campaigns are looked up.
            writer: What commits triggers.
            records: Where triggers are found and cancelled.
            limits: The rate limits, which count every item of a batch.
        """
        self._batches = Batches(catalog, writer, limits)
        self._records = records
        self._catalog = catalog
        self._writer = writer

    async def TriggerCampaign(  # noqa: N802 - gRPC's name
        self, request: pb.TriggerCampaignRequest, call: Call
    ) -> pb.TriggerCampaignResponse:
        """Accept a trigger that came over REST."""
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
        """Accept the valid triggers of a batch that came over REST."""
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
        """Cancel a waiting trigger. If a dispatcher claims or releases it meanwhile, look again."""
        while (state := await self._state(call, trigger_id)) is not DeliveryState.CANCELLED:
            if state not in _WAITING:
                raise TooLateToCancel(
                    f"The trigger {_WHY_TOO_LATE[state]}; it cannot be cancelled.",
                    metadata={"trigger_id": str(trigger_id), "state": state.value},
                )
            if await self._records.cancel(trigger_id):
                return

    async def _state(self, call: Call, trigger_id: uuid.UUID) -> DeliveryState:
        """Return the state of a trigger that the caller may cancel."""
        found = await self._records.find_delivery(trigger_id, call.project_id)
        if found is None:
            raise DeliveryNotFound.of(trigger_id)
        if not call.key.may_trigger(found.campaign_id):
            raise CampaignForbidden(
                f"The API key may not cancel triggers of campaign {found.campaign_id}.",
                metadata={"campaign_id": str(found.campaign_id)},
            )
        return found.state

    async def _accept_typed(self, request: TriggerRequest, call: Call) -> tuple[str, bool]:
        caller = call.caller(self._catalog)
        valid = accept_message(caller, request, call.idempotency_key)
        return await self._commit(caller, valid, FIELD if request.request_id else HEADER)

    async def _commit(self, caller: Caller, valid: ValidTrigger, key_field: str) -> tuple[str, bool]:
        """Return the id of the trigger, and whether it is that of an earlier call.

        Args:
            caller: Who calls.
            valid: The trigger.
            key_field: Where the caller sent the idempotency key, for errors.
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
        """Return the id that the first call with this key got. Only that makes a late trigger valid."""
        assert valid.key is not None  # noqa: S101 - without a key, a late trigger is not valid
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
