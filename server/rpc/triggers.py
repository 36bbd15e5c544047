"""TriggerService: typed calls and the REST call, served by one path."""

from __future__ import annotations

import datetime as dt
from typing import Any

import uuid_utils.compat

from clarion.v1 import trigger_pb2 as pb
from clarion.v1 import trigger_pb2_grpc

from ..domain.campaign import Campaign, CampaignState, Channel
from ..domain.locale import normal_locale
from ..domain.once import once
from ..domain.placement import place
from ..domain.trigger import Trigger
from ..errors import (
    CampaignForbidden,
    CampaignNotFound,
    CampaignPaused,
    IdempotencyKeyReused,
    InvalidRequest,
    Violation,
)
from .addresses import as_sent
from .guard import caller, idempotency_header, traceparent
from .idempotency import FIELD, HEADER, idempotency_key
from .ports import Catalog, Writer
from .rest_body import Body, parse_body, parse_campaign_id, to_request
from .rules import TriggerRequest, check, required

__all__ = ["TriggerServicer"]

_PAUSED = Violation("campaign_id", "names a campaign that is paused", "CAMPAIGN_STATE")
_CHANNELS: dict[type[TriggerRequest], Channel] = {
    pb.TriggerEmailRequest: Channel.EMAIL,
    pb.TriggerTextRequest: Channel.TEXT,
    pb.TriggerPushRequest: Channel.PUSH,
}


class TriggerServicer(trigger_pb2_grpc.TriggerServiceServicer):
    """Accepts triggers."""

    def __init__(self, catalog: Catalog, writer: Writer) -> None:
        """Take where campaigns are looked up and where triggers are made durable."""
        self._catalog = catalog
        self._writer = writer

    async def TriggerEmail(  # noqa: N802 - gRPC's name
        self, request: pb.TriggerEmailRequest, context: Any
    ) -> pb.TriggerEmailResponse:
        """Accept an email."""
        trigger_id, replayed = await self._typed(request)
        return pb.TriggerEmailResponse(trigger_id=trigger_id, replayed=replayed)

    async def TriggerText(  # noqa: N802 - gRPC's name
        self, request: pb.TriggerTextRequest, context: Any
    ) -> pb.TriggerTextResponse:
        """Accept a text message."""
        trigger_id, replayed = await self._typed(request)
        return pb.TriggerTextResponse(trigger_id=trigger_id, replayed=replayed)

    async def TriggerPush(  # noqa: N802 - gRPC's name
        self, request: pb.TriggerPushRequest, context: Any
    ) -> pb.TriggerPushResponse:
        """Accept a push notification."""
        trigger_id, replayed = await self._typed(request)
        return pb.TriggerPushResponse(trigger_id=trigger_id, replayed=replayed)

    async def TriggerCampaign(  # noqa: N802 - gRPC's name
        self, request: pb.TriggerCampaignRequest, context: Any
    ) -> pb.TriggerCampaignResponse:
        """Accept what came over REST."""
        trigger_id, replayed = await self._rest(request)
        return pb.TriggerCampaignResponse(trigger_id=trigger_id, replayed=replayed)

    async def _typed(self, request: TriggerRequest) -> tuple[str, bool]:
        campaign = self._campaign(request.campaign_id) if request.campaign_id > 0 else None
        violations = check(request)
        given = _CHANNELS[type(request)]
        if campaign and campaign.channel is not given:
            wrong = f"user.{given.address_field}"
            violations = [_mismatch(campaign, given), *(v for v in violations if v.field != wrong)]
        return await self._accept(campaign, request, violations)

    async def _rest(self, request: pb.TriggerCampaignRequest) -> tuple[str, bool]:
        campaign_id = parse_campaign_id(request.campaign_id)
        body = parse_body(request.body.data)
        if isinstance(campaign_id, Violation):
            typed = to_request(1, body.given_channel or Channel.EMAIL, body)
            raise InvalidRequest([campaign_id, *_body_violations(typed, body)])
        campaign = self._campaign(campaign_id)
        typed = to_request(campaign_id, campaign.channel, body)
        violations = _body_violations(typed, body)
        if violations and body.given_channel:
            violations = _name_mismatch(violations, campaign, body.given_channel)
        return await self._accept(campaign, typed, violations)

    async def _accept(
        self, campaign: Campaign | None, request: TriggerRequest, violations: list[Violation]
    ) -> tuple[str, bool]:
        """Return the trigger's id, and whether it is that of an earlier call."""
        key = idempotency_key(idempotency_header(), request.request_id)
        if isinstance(key, Violation):
            raise InvalidRequest([*violations, key])
        if violations or campaign is None:
            raise InvalidRequest(violations)
        if campaign.state is CampaignState.PAUSED:
            facts = {"campaign_id": str(campaign.id)}
            raise CampaignPaused(f"Campaign {campaign.id} is paused.", metadata=facts, violations=[_PAUSED])
        trigger = _trigger(campaign, request)
        fallback = self._catalog.project_timezone(campaign.project_id)
        now = dt.datetime.now(dt.UTC)
        where = place(campaign, trigger.timezone, fallback, now)
        try:
            kept = await self._writer.add(trigger, where, once(key, trigger) if key else None)
        except IdempotencyKeyReused as error:
            field = FIELD if request.request_id else HEADER
            reused = Violation(field, "was used for a trigger with other content", "ALREADY_USED")
            raise IdempotencyKeyReused(metadata=error.metadata, violations=[reused]) from None
        return str(kept), kept != trigger.id

    def _campaign(self, campaign_id: int) -> Campaign:
        """Return the campaign if the caller may trigger it; forbidden comes before unknown."""
        key = caller()
        facts = {"campaign_id": str(campaign_id)}
        campaign = self._catalog.campaign(key.project_id, campaign_id)
        if not key.may_trigger(campaign_id) or (
            campaign is None and self._catalog.exists_elsewhere(campaign_id)
        ):
            raise CampaignForbidden(f"The API key may not trigger campaign {campaign_id}.", metadata=facts)
        if campaign is None:
            raise CampaignNotFound(f"There is no campaign {campaign_id}.", metadata=facts)
        return campaign


def _trigger(campaign: Campaign, request: TriggerRequest) -> Trigger:
    user = request.user
    return Trigger(
        id=uuid_utils.compat.uuid7(),
        project_id=campaign.project_id,
        campaign_id=campaign.id,
        channel=campaign.channel,
        external_id=user.external_id,
        address=as_sent(getattr(user, campaign.channel.address_field)),
        timezone=user.timezone,
        locale=normal_locale(user.locale),
        user_data=user.data,
        event=request.event,
        traceparent=traceparent(),
    )


def _body_violations(typed: TriggerRequest, body: Body) -> list[Violation]:
    """Join what the JSON and what the rules say; a field that the JSON had wrong is named once."""
    if not body.violations:
        return check(typed, event_parsed=body.is_plain)
    if any(violation.field == "" for violation in body.violations):
        return list(body.violations)
    named = {violation.field for violation in body.violations}
    if "user" in named:
        return list(body.violations)
    return [*body.violations, *(v for v in check(typed) if v.field not in named)]


def _mismatch(campaign: Campaign, given: Channel) -> Violation:
    """Name the field that the campaign's channel needs, whichever way the caller came."""
    needed, found = f"user.{campaign.channel.address_field}", f"user.{given.address_field}"
    description = f"is required: campaign {campaign.id} sends {campaign.channel}, but {found} was given"
    return Violation(needed, description, "CHANNEL_MISMATCH")


def _name_mismatch(violations: list[Violation], campaign: Campaign, given: Channel) -> list[Violation]:
    """Replace "is required" by what probably went wrong: an address of another channel was given."""
    needed = required(f"user.{campaign.channel.address_field}")
    if given is campaign.channel or needed not in violations:
        return violations
    return [_mismatch(campaign, given), *(v for v in violations if v != needed)]
