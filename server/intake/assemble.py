"""A decoded request that was found valid → the trigger that is committed."""

from __future__ import annotations

import datetime as dt
import operator
from collections.abc import Callable
from typing import Any

from ..channels import BY_ADDRESS_FIELD
from ..domain.campaign import Campaign
from ..domain.idempotency import IdempotencyKey
from ..domain.placement import ValidTrigger
from ..domain.trigger import Trigger, new_id
from .caller import Caller
from .contract import BODY_FIELDS, OBJECTS, USER_FIELDS

__all__ = ["assemble"]

_COMPUTED = (
    *("id", "project_id", "campaign_id", "channel", "address", "locale"),
    *("traceparent", "key_id", "send_at", "accepted_at", "test"),
)
"""Fields of a trigger that are not copied from the request as they are."""
_CONSUMED = {"user", "send_at", "user.locale", *(f"user.{field}" for field in BY_ADDRESS_FIELD)}
"""Fields of a request that those are computed from."""


def _copied() -> dict[str, str]:
    """Return where a request has each copied field: `event` in `event`, `user_data` in `user.data`.

    Raises:
        NotImplementedError: A field of a trigger has no source, or one of a request has no use.
    """
    in_user = {name: f"user.{name}" for name in USER_FIELDS}
    in_body = {name: name for name in BODY_FIELDS}
    sources = {**{f"user_{name}": path for name, path in in_user.items()}, **in_user, **in_body}
    copied = {name: sources.get(name, "") for name in Trigger.__struct_fields__ if name not in _COMPUTED}
    unused = {*in_user.values(), *in_body.values()} - _CONSUMED - {*copied.values()}
    missing = [name for name, path in copied.items() if not path]
    if unused or missing:
        raise NotImplementedError(
            f"fields of Trigger that no request has: {missing}; fields of requests that are unused: {unused}"
        )
    return copied


_COPIED = _copied()
_OBJECTS = {name: path for name, path in _COPIED.items() if path in OBJECTS}
_TEXTS = {name: path for name, path in _COPIED.items() if path not in OBJECTS}
_texts: Callable[[Any], tuple[str, ...]] = operator.attrgetter(*_TEXTS.values())
_objects: Callable[[Any], tuple[Any, ...]] = operator.attrgetter(*_OBJECTS.values())
# Returns these values in the order of Trigger's fields. Keyword arguments would take as long as all the
# rest of `assemble`.
_in_order = operator.itemgetter(
    *((*_COMPUTED, *_TEXTS, *_OBJECTS).index(name) for name in Trigger.__struct_fields__)
)


def assemble(
    caller: Caller,
    campaign: Campaign,
    request: Any,
    *,
    address: str,
    locale: str,
    send_at: dt.datetime | None,
    key: str,
) -> ValidTrigger:
    """Return the trigger with its position in the queue.

    Args:
        caller: The caller and the time of the call.
        campaign: The campaign that is triggered.
        request: A typed request, or a struct with the same fields.
        address: The user's address as it is sent to.
        locale: The user's locale as BCP 47 recommends to write it, or empty.
        send_at: When to send it; None for at once.
        key: The idempotency key, or empty.
    """
    computed = (
        *(new_id(), campaign.project_id, campaign.id, campaign.channel, address, locale),
        *(caller.traceparent, caller.key.id, send_at, None, caller.key.test),
    )
    # JSON objects were decoded from REST to the bytes that the caller wrote, and from messages to text.
    objects = [one if type(one) is str else str(one, "utf-8") for one in _objects(request)]
    trigger = Trigger(*_in_order((*computed, *_texts(request), *objects)))
    placement = caller.place(campaign, trigger.timezone, send_at)
    return ValidTrigger(trigger, placement, IdempotencyKey.of(key, trigger) if key else None)
