"""TriggerService: typed calls and the REST call, served by one path."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

from google.api import httpbody_pb2

from clarion.v1 import trigger_pb2 as pb
from clarion.v1 import trigger_pb2_grpc

from ..domain.delivery import DeliveryState
from ..domain.limit import RateLimiter
from ..domain.ports import Catalog, Records, Writer
from ..errors import (
    CampaignForbidden,
    DeliveryNotFound,
    IdempotencyKeyReused,
    InvalidRequest,
    TooLateToCancel,
    Violation,
)
from ..intake.body import parse_body, parse_campaign_id
from ..intake.rules import require_valid
from ..intake.typed import TYPED, TriggerRequest, TypedCall
from ..intake.validate import TriggerValidator, ValidTrigger
from .batch_answer import JsonOutcomes
from .batches import Batches
from .guard import caller, idempotency_header, traceparent

__all__ = ["TriggerServicer"]

_WAITING = {DeliveryState.PENDING, DeliveryState.RETRYING}
_SAID = {
    DeliveryState.SENDING: "is being sent now",
    DeliveryState.DELIVERED: "is delivered",
    DeliveryState.DEAD: "was given up",
    DeliveryState.SUPPRESSED: "was not sent, its recipient is suppressed",
}


class TriggerServicer(trigger_pb2_grpc.TriggerServiceServicer):
    """Accepts triggers. The typed methods, one for each channel, are added below the class."""

    def __init__(self, catalog: Catalog, writer: Writer, records: Records, limits: RateLimiter) -> None:
        """Take where campaigns are looked up, where triggers are made durable, and where they are found.

        `limits` counts the items of batches.
        """
        self._batches = Batches(catalog, writer, limits)
        self._records = records
        self._catalog = catalog
        self._writer = writer

    async def TriggerCampaign(  # noqa: N802 - gRPC's name
        self, request: pb.TriggerCampaignRequest, context: Any
    ) -> pb.TriggerCampaignResponse:
        """Accept what came over REST."""
        trigger_id, replayed = await self._rest(request)
        return pb.TriggerCampaignResponse(trigger_id=trigger_id, replayed=replayed)

    async def BatchTrigger(  # noqa: N802 - gRPC's name
        self, request: pb.BatchTriggerRequest, context: Any
    ) -> pb.BatchTriggerResponse:
        """Accept what is good of many."""
        answer = pb.BatchTriggerResponse()
        await self._batches.typed(request.triggers, answer.outcomes)
        return answer

    async def BatchTriggerCampaigns(  # noqa: N802 - gRPC's name
        self, request: pb.BatchTriggerCampaignsRequest, context: Any
    ) -> httpbody_pb2.HttpBody:
        """Accept what is good of many that came over REST."""
        outcomes = JsonOutcomes()
        await self._batches.rest(request.body.data, outcomes)
        return outcomes.body()

    async def CancelTrigger(  # noqa: N802 - gRPC's name
        self, request: pb.CancelTriggerRequest, context: Any
    ) -> pb.CancelTriggerResponse:
        """Call a trigger of the caller's project off."""
        require_valid(request)
        await self._cancel(uuid.UUID(request.trigger_id))
        return pb.CancelTriggerResponse(trigger_id=request.trigger_id.lower())

    async def _cancel(self, trigger_id: uuid.UUID) -> None:
        """Cancel what waits. What a dispatcher takes or gives back meanwhile is looked at once more."""
        while (state := await self._state(trigger_id)) is not DeliveryState.CANCELLED:
            if state not in _WAITING:
                facts = {"trigger_id": str(trigger_id), "state": state.value}
                raise TooLateToCancel(f"The trigger {_SAID[state]}; it cannot be cancelled.", metadata=facts)
            if await self._records.cancel(trigger_id):
                return

    async def _state(self, trigger_id: uuid.UUID) -> DeliveryState:
        """Return where a trigger stands that the caller may cancel."""
        key = caller()
        found = await self._records.find_delivery(trigger_id, key.project_id)
        if found is None:
            raise DeliveryNotFound.of(trigger_id)
        if not key.may_trigger(found.campaign_id):
            facts = {"campaign_id": str(found.campaign_id)}
            message = f"The API key may not cancel triggers of campaign {found.campaign_id}."
            raise CampaignForbidden(message, metadata=facts)
        return found.state

    async def _typed(self, request: TriggerRequest) -> tuple[str, bool]:
        return await self._keep(self._judge().typed(request, idempotency_header()))

    async def _rest(self, request: pb.TriggerCampaignRequest) -> tuple[str, bool]:
        body = parse_body(request.body.data)
        campaign_id = parse_campaign_id(request.campaign_id)
        return await self._keep(self._judge().rest(campaign_id, body, idempotency_header()))

    def _judge(self) -> TriggerValidator:
        return TriggerValidator(self._catalog, caller(), traceparent(), dt.datetime.now(dt.UTC))

    async def _keep(self, ready: ValidTrigger) -> tuple[str, bool]:
        """Return the trigger's id, and whether it is that of an earlier call."""
        try:
            if ready.too_late:
                return await self._told_before(ready, ready.too_late), True
            kept = await self._writer.add(ready.trigger, ready.place, ready.once)
        except IdempotencyKeyReused as error:
            raise ready.refused(error) from None
        return str(kept), kept != ready.trigger.id

    async def _told_before(self, ready: ValidTrigger, too_late: Violation) -> str:
        """Return the answer to the earlier call that this one repeats, now that its moment has passed."""
        assert ready.once is not None  # noqa: S101 - without a key it repeats nothing
        (earlier,) = await self._writer.earlier([(ready.trigger, ready.once)])
        if earlier is None:
            raise InvalidRequest([too_late])
        if isinstance(earlier, Exception):
            raise earlier
        return str(earlier)


def _typed_method(call: TypedCall) -> Callable[[TriggerServicer, TriggerRequest, Any], Awaitable[Any]]:
    async def method(self: TriggerServicer, request: TriggerRequest, context: Any) -> Any:
        trigger_id, replayed = await self._typed(request)
        return call.response(trigger_id=trigger_id, replayed=replayed)

    return method


for _call in TYPED.values():
    setattr(TriggerServicer, _call.method, _typed_method(_call))
