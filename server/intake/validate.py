"""The full validation of a call: returns a valid trigger, or raises an error with every violation.

It handles every call that the fast path does not accept. It builds the typed request of the campaign's
channel, also for a REST body, so that one set of rules holds for all.
"""

from __future__ import annotations

import datetime as dt

from ..channels import CHANNELS
from ..domain.campaign import Campaign, CampaignState, Channel
from ..domain.locale import normal_locale
from ..domain.placement import ValidTrigger
from ..errors import CampaignPaused, InvalidRequest, Violation
from .assemble import assemble
from .caller import Caller
from .explain import PAUSED, mismatch, required
from .idempotency_key import idempotency_key
from .rules import check
from .send_at import moment_of, send_at_violation
from .strict_body import StrictBody, to_request
from .typed import TriggerRequest, channel_of

__all__ = ["validate_body", "validate_item", "validate_message"]

_ANY_CHANNEL = next(iter(Channel))


def validate_message(caller: Caller, request: TriggerRequest, header: str | None = None) -> ValidTrigger:
    """Return the trigger of a typed request.

    Args:
        caller: The caller and the time of the call.
        request: What was sent.
        header: The metadata `idempotency-key`, if the call has it.

    Raises:
        RequestError: The call is invalid; every violation is included.
    """
    campaign = caller.campaign(request.campaign_id) if request.campaign_id > 0 else None
    violations = check(request)
    given = channel_of(request)
    if campaign and campaign.channel is not given:
        wrong = f"user.{CHANNELS[given].address.field}"
        violations = [mismatch(campaign, given), *(v for v in violations if v.field != wrong)]
    return _validate(caller, campaign, request, violations, header)


def validate_body(
    caller: Caller, campaign_id: int | Violation, body: StrictBody, header: str | None = None
) -> ValidTrigger:
    """Return the trigger of a REST body.

    Args:
        caller: The caller and the time of the call.
        campaign_id: The campaign, or what is wrong with the id.
        body: The decoded body.
        header: The header `idempotency-key`, if the call has it.

    Raises:
        RequestError: The call is invalid; every violation is included.
    """
    if isinstance(campaign_id, Violation):
        request = to_request(1, body.given_channel or _ANY_CHANNEL, body)
        raise InvalidRequest([campaign_id, *_body_violations(request, body)])
    campaign = caller.campaign(campaign_id)
    request = to_request(campaign_id, campaign.channel, body)
    violations = _body_violations(request, body)
    if violations and body.given_channel:
        violations = _with_mismatch(violations, campaign, body.given_channel)
    return _validate(caller, campaign, request, violations, header)


def validate_item(caller: Caller, item: StrictBody) -> ValidTrigger:
    """Return the trigger of an item of a REST batch.

    Raises:
        RequestError: The item is invalid. The errors are those of a single call, except that a value that is
            not an object is reported as an item, not as a body.
    """
    if item.is_unread:
        of = "item" if item.violations[0].reason == "WRONG_TYPE" else "body"
        raise InvalidRequest(item.violations, of=of)
    return validate_body(caller, item.campaign_id, item)


def _validate(
    caller: Caller,
    campaign: Campaign | None,
    request: TriggerRequest,
    violations: list[Violation],
    header: str | None,
) -> ValidTrigger:
    key = idempotency_key(header, request.request_id)
    if isinstance(key, Violation):
        raise InvalidRequest([*violations, key])
    send_at = _send_at(caller, request, violations, may_be_late=bool(key))
    if violations or campaign is None:
        raise InvalidRequest(violations)
    if campaign.state is CampaignState.PAUSED:
        raise CampaignPaused(
            f"Campaign {campaign.id} is paused.",
            metadata={"campaign_id": str(campaign.id)},
            violations=[PAUSED],
        )
    address, locale = CHANNELS[campaign.channel].address, normal_locale(request.user.locale)
    as_sent = address.as_sent(getattr(request.user, address.field))
    return assemble(caller, campaign, request, address=as_sent, locale=locale, send_at=send_at, key=key)


def _send_at(
    caller: Caller, request: TriggerRequest, violations: list[Violation], *, may_be_late: bool
) -> dt.datetime | None:
    """Return when to send. If the time is invalid, append a violation.

    A time in the past is a violation only without an idempotency key. With a key, the call may repeat an
    earlier one; `late_violation` decides that when it is committed.
    """
    if not request.HasField("send_at"):
        return None
    send_at = moment_of(request.send_at)
    if isinstance(send_at, Violation):
        violations.append(send_at)
        return None
    violation = send_at_violation(send_at, caller.now)
    if violation and (violations or not may_be_late or send_at > caller.now):
        violations.append(violation)
    return send_at


def _body_violations(request: TriggerRequest, body: StrictBody) -> list[Violation]:
    """Join the violations of the JSON with those of the rules, at most one for each field."""
    if body.is_unread:
        return list(body.violations)
    named = {violation.field for violation in body.violations}
    if "user" in named:
        return list(body.violations)
    return [*body.violations, *(v for v in check(request, decoded=True) if v.field not in named)]


def _with_mismatch(violations: list[Violation], campaign: Campaign, given: Channel) -> list[Violation]:
    """Replace "is required" by what probably went wrong: an address of another channel was given."""
    needed = required(f"user.{CHANNELS[campaign.channel].address.field}")
    if given is campaign.channel or needed not in violations:
        return violations
    return [mismatch(campaign, given), *(v for v in violations if v != needed)]
