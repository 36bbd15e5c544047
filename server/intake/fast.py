"""The fast path of all trigger calls: returns a valid trigger, or None if `validate` must check the call.

`validate` returns the same trigger for everything that is accepted here; tests compare the two. Most calls
end here: this path builds no protobuf message and does not report violations.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

from ..channels import CHANNELS
from ..domain.campaign import CampaignState, Channel
from ..domain.locale import normal_locale
from ..domain.placement import ValidTrigger
from ..errors import RequestError, Violation
from .assemble import assemble
from .caller import Caller
from .decode import decode_body, decode_item, decode_message
from .idempotency_key import idempotency_key
from .send_at import moment_of, parse_send_at, send_at_violation
from .timezones import is_timezone
from .typed import TriggerRequest, channel_of

__all__ = ["accept_body", "accept_item", "accept_message"]

_ADDRESSES = {channel: spec.address for channel, spec in CHANNELS.items()}


def accept_body(
    caller: Caller, campaign_id: int | Violation, data: bytes, header: str | None
) -> ValidTrigger | None:
    """Return the trigger of a REST call.

    Args:
        caller: The caller and the time of the call.
        campaign_id: The campaign in the path, or what is wrong with it.
        data: The JSON body.
        header: The header `idempotency-key`, if the call has it.
    """
    if isinstance(campaign_id, Violation) or (body := decode_body(data)) is None:
        return None
    return _accept(caller, campaign_id, body, send_at=_moment(body.send_at), key=idempotency_key(header, ""))


def accept_item(caller: Caller, data: bytes) -> ValidTrigger | None:
    """Return the trigger of an item of a REST batch."""
    item = decode_item(data)
    if item is None:
        return None
    return _accept(caller, item.campaign_id, item, send_at=_moment(item.send_at), key=item.request_id)


def accept_message(caller: Caller, request: TriggerRequest, header: str | None) -> ValidTrigger | None:
    """Return the trigger of a typed request, which was called alone or is an item of a batch."""
    body = decode_message(request)
    if body is None:
        return None
    send_at = moment_of(request.send_at) if request.HasField("send_at") else None
    key = idempotency_key(header, body.request_id)
    return _accept(caller, body.campaign_id, body, send_at=send_at, key=key, only=channel_of(request))


def _accept(
    caller: Caller,
    campaign_id: int,
    body: Any,
    *,
    send_at: dt.datetime | Violation | None,
    key: str | Violation,
    only: Channel | None = None,
) -> ValidTrigger | None:
    try:
        campaign = caller.campaign(campaign_id)
        locale = normal_locale(body.user.locale)
    except (RequestError, ValueError):
        return None
    if campaign.state is not CampaignState.ACTIVE or (only and only is not campaign.channel):
        return None
    spec = _ADDRESSES[campaign.channel]
    address = getattr(body.user, spec.field)
    if (
        isinstance(key, Violation)
        or isinstance(send_at, Violation)
        or (send_at and send_at_violation(send_at, caller.now))
        or not is_timezone(body.user.timezone)
        or not (address and spec.is_plain(address))
    ):
        return None
    return assemble(caller, campaign, body, address=address, locale=locale, send_at=send_at, key=key)


def _moment(text: str) -> dt.datetime | Violation | None:
    return parse_send_at(text) if text else None
