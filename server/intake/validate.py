"""What a call asks for, judged: a trigger that is ready to be kept, or all that is wrong with it."""

from __future__ import annotations

import datetime as dt

import msgspec

from ..channels import CHANNELS
from ..domain.campaign import Campaign, CampaignState, Channel
from ..domain.idempotency import IdempotencyKey
from ..domain.key import ApiKey
from ..domain.locale import normal_locale
from ..domain.placement import Placement, place
from ..domain.placement import ValidTrigger as Entry
from ..domain.ports import Catalog
from ..domain.trigger import Trigger, new_id
from ..errors import (
    CampaignForbidden,
    CampaignNotFound,
    CampaignPaused,
    IdempotencyKeyReused,
    InvalidRequest,
    Violation,
)
from .body import Body, to_request
from .idempotency_key import FIELD, HEADER, idempotency_key
from .rules import check, required
from .send_at import moment_of, send_at_violation
from .typed import TriggerRequest, channel_of

__all__ = ["TriggerValidator", "ValidTrigger"]

_PAUSED = Violation("campaign_id", "names a campaign that is paused", "CAMPAIGN_STATE")
_ANY_CHANNEL = next(iter(Channel))


class ValidTrigger(msgspec.Struct, frozen=True, gc=False):
    """A trigger with nothing wrong, its place in the queue, and what it must not be kept twice for."""

    trigger: Trigger
    place: Placement
    once: IdempotencyKey | None = None
    key_field: str = FIELD
    """Where the caller wrote the idempotency key."""
    too_late: Violation | None = None
    """Its moment has passed: it is only right if it repeats an earlier call."""

    @property
    def entry(self) -> Entry:
        """What the writer takes."""
        return Entry(self.trigger, self.place, self.once)

    def refused(self, error: IdempotencyKeyReused) -> IdempotencyKeyReused:
        """Return the error with the field in which the caller wrote the key."""
        other = "was used for a trigger with other content; send_at counts as content, too"
        reused = Violation(self.key_field, other, "ALREADY_USED")
        return IdempotencyKeyReused(metadata=error.metadata, violations=[reused])


class TriggerValidator:
    """Judges what one caller asks for."""

    def __init__(self, catalog: Catalog, key: ApiKey, traceparent: str, now: dt.datetime) -> None:
        """Take where campaigns are looked up, the caller's key and trace context, and the time."""
        self._catalog = catalog
        self._key = key
        self.traceparent = traceparent
        self.now = now

    def typed(self, request: TriggerRequest, header: str | None = None) -> ValidTrigger:
        """Judge a typed request; `header` is the header `idempotency-key`, if there is one.

        Raises:
            RequestError: what is wrong, all at once.
        """
        campaign = self.campaign(request.campaign_id) if request.campaign_id > 0 else None
        violations = check(request)
        given = channel_of(request)
        if campaign and campaign.channel is not given:
            wrong = f"user.{CHANNELS[given].address.field}"
            violations = [_mismatch(campaign, given), *(v for v in violations if v.field != wrong)]
        return self._ready(campaign, request, violations, header)

    def rest(
        self, campaign_id: int | Violation, body: Body, header: str | None = None, request_id: str = ""
    ) -> ValidTrigger:
        """Judge a REST body for the campaign of this number, or with what is wrong with the number.

        Raises:
            RequestError: what is wrong, all at once.
        """
        if isinstance(campaign_id, Violation):
            typed = to_request(1, body.given_channel or _ANY_CHANNEL, body, request_id)
            raise InvalidRequest([campaign_id, *_body_violations(typed, body)])
        found = self.campaign(campaign_id)
        typed = to_request(campaign_id, found.channel, body, request_id)
        violations = _body_violations(typed, body)
        if violations and body.given_channel:
            violations = _name_mismatch(violations, found, body.given_channel)
        return self._ready(found, typed, violations, header)

    def _ready(
        self,
        campaign: Campaign | None,
        request: TriggerRequest,
        violations: list[Violation],
        header: str | None,
    ) -> ValidTrigger:
        key = idempotency_key(header, request.request_id)
        if isinstance(key, Violation):
            raise InvalidRequest([*violations, key])
        send_at = moment_of(request.send_at) if request.HasField("send_at") else None
        if isinstance(send_at, Violation):
            raise InvalidRequest([*violations, send_at])
        wrong_time = send_at_violation(send_at, self.now) if send_at else None
        too_late = wrong_time if key and send_at and send_at < self.now else None
        if violations or campaign is None or (wrong_time and not too_late):
            raise InvalidRequest([*violations, *([wrong_time] if wrong_time else ())])
        if campaign.state is CampaignState.PAUSED:
            facts = {"campaign_id": str(campaign.id)}
            raise CampaignPaused(f"Campaign {campaign.id} is paused.", metadata=facts, violations=[_PAUSED])
        trigger = self._trigger(campaign, request, send_at)
        return ValidTrigger(
            trigger,
            self.place(campaign, request.user.timezone, send_at),
            IdempotencyKey.of(key, trigger) if key else None,
            FIELD if request.request_id else HEADER,
            too_late,
        )

    def campaign(self, campaign_id: int) -> Campaign:
        """Return the campaign if the caller may trigger it; forbidden comes before unknown."""
        campaign = self._catalog.campaign(self._key.project_id, campaign_id)
        if not self._key.may_trigger(campaign_id) or (
            campaign is None and self._catalog.exists_elsewhere(campaign_id)
        ):
            facts = {"campaign_id": str(campaign_id)}
            raise CampaignForbidden(f"The API key may not trigger campaign {campaign_id}.", metadata=facts)
        if campaign is None:
            raise CampaignNotFound.of(campaign_id)
        return campaign

    def place(self, campaign: Campaign, timezone: str, send_at: dt.datetime | None) -> Placement:
        """Return where a trigger of the campaign goes, for a user in this time zone."""
        fallback = self._catalog.project_timezone(campaign.project_id)
        return place(campaign, timezone, fallback, self.now, send_at)

    def _trigger(self, campaign: Campaign, request: TriggerRequest, send_at: dt.datetime | None) -> Trigger:
        user = request.user
        address = CHANNELS[campaign.channel].address
        return Trigger(
            id=new_id(),
            project_id=campaign.project_id,
            campaign_id=campaign.id,
            channel=campaign.channel,
            external_id=user.external_id,
            address=address.as_sent(getattr(user, address.field)),
            timezone=user.timezone,
            locale=normal_locale(user.locale),
            user_data=user.data,
            event=request.event,
            traceparent=self.traceparent,
            send_at=send_at,
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
    needed = f"user.{CHANNELS[campaign.channel].address.field}"
    found = f"user.{CHANNELS[given].address.field}"
    description = f"is required: campaign {campaign.id} sends {campaign.channel}, but {found} was given"
    return Violation(needed, description, "CHANNEL_MISMATCH")


def _name_mismatch(violations: list[Violation], campaign: Campaign, given: Channel) -> list[Violation]:
    """Replace "is required" by what probably went wrong: an address of another channel was given."""
    needed = required(f"user.{CHANNELS[campaign.channel].address.field}")
    if given is campaign.channel or needed not in violations:
        return violations
    return [_mismatch(campaign, given), *(v for v in violations if v != needed)]
