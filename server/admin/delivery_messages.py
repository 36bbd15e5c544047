"""Renders the message of a delivery again, for people who look into it."""

from __future__ import annotations

import uuid
from typing import NamedTuple

from clarion.admin.v1 import delivery_pb2 as pb

from ..domain.campaign import Campaign
from ..domain.delivery import Delivery
from ..domain.delivery_errors import DeliveryError
from ..errors import DeliveryNotFound
from ..intake.rules import require_valid
from ..store.admin.campaigns import find_campaign, find_version
from ..store.pool import Pool, reached
from ..store.records.content import Content, find_content
from ..store.records.find import find_delivery
from ..templates.render import chosen_locale
from .call import AdminCall
from .errors import WrongState
from .previews import Previews, shown_parts

__all__ = ["delivery_message_of", "why_removed"]


class _Source(NamedTuple):
    """What a message is rendered from, and the word for it."""

    campaign: Campaign
    word: str


async def delivery_message_of(
    pool: Pool, previews: Previews, request: pb.GetDeliveryMessageRequest, call: AdminCall
) -> pb.GetDeliveryMessageResponse:
    """Return the message of a delivery.

    Args:
        pool: The database.
        previews: Renders it.
        request: Names the delivery.
        call: The call.

    Raises:
        DeliveryNotFound, RoleMissing: The caller may not see it.
        WrongState: It cannot be rendered.
        Overloaded: Too many messages wait to be rendered.
    """
    require_valid(request)
    trigger_id = uuid.UUID(request.trigger_id)
    async with reached():
        delivery = await find_delivery(pool, trigger_id)
        found = await find_content(pool, trigger_id)
        if delivery is None or found is None or not call.may_see(delivery.project_id):
            raise DeliveryNotFound.of(request.trigger_id)
        call.require(delivery.project_id)
        _require_visible(found)
        source = await _source(pool, delivery, found)
    campaign = source.campaign
    try:
        message, _ = await previews.render(campaign, found.trigger, found.timezone, call.actor.owner)
    except DeliveryError as error:
        raise WrongState(f"The message cannot be rendered: {error}.") from error
    return pb.GetDeliveryMessageResponse(
        trigger_id=str(trigger_id),
        rendered_from=source.word,
        campaign_version=max(campaign.revision, 0),  # each state of a draft has a number below 0
        chosen_locale=chosen_locale(campaign, found.trigger.locale),
        sender=campaign.sender,
        **shown_parts(message),
    )


def why_removed(retain: str) -> str:
    """Return why the content of a trigger has been removed, as part of a sentence."""
    if retain:
        return "its content was removed when its delivery ended, because it was triggered with retain: none"
    return "its content was removed, because its retention time is over or the person was erased"


def _require_visible(found: Content) -> None:
    """Check that the content may be shown.

    Raises:
        WrongState: It has been removed, or is a secret.
    """
    if found.trigger.retain:
        raise WrongState("The message is not shown: it was triggered with retain: none, as a secret.")
    if not found.trigger.address:
        raise WrongState(f"The message cannot be rendered: {why_removed('')}.")


async def _source(pool: Pool, delivery: Delivery, found: Content) -> _Source:
    """Return what the last attempt was rendered from, or the next one will be.

    Raises:
        WrongState: The record does not have it.
    """
    if found.tested:
        return _Source(found.tested, "test_send")
    key = (delivery.project_id, delivery.campaign_id)
    used = [one.campaign_version for one in delivery.attempts if one.campaign_version]
    if used:
        version = await find_version(pool, *key, used[-1])
        if version is None:
            raise WrongState(
                f"The message cannot be rendered: version {used[-1]} of campaign {key[1]} is missing."
            )
        return _Source(version.campaign, "attempt")
    campaign = await find_campaign(pool, *key)
    if campaign is None:
        raise WrongState(f"The message cannot be rendered: campaign {key[1]} is missing.")
    return _Source(campaign, "current")
