"""The typed call that says the same as a REST body, where one can."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Mapping
from typing import Any, TypeAlias

from clarion.v1 import trigger_pb2 as pb
from server.intake.contract import USER_FIELDS
from tests.kit.stack import EXAMPLE

__all__ = ["CAMPAIGN_OF", "EMAIL", "PHONE", "TOKEN", "USERS", "Typed", "twin_of", "typed"]

Typed: TypeAlias = pb.TriggerEmailRequest | pb.TriggerTextRequest | pb.TriggerPushRequest

EMAIL, PHONE, TOKEN = "test@test.com", "+12025550123", "DEVICE_TOKEN:abc-DEF_123"
CAMPAIGN_OF = {"email": 44, "phone": 45, "device_token": 46}
"""The demo's campaign that needs this address."""
USERS: dict[int, dict[str, Any]] = {
    44: dict(EXAMPLE["user"]),
    45: {"external_id": "EXTERNAL_ID", "phone": PHONE},
    46: {"external_id": "EXTERNAL_ID", "device_token": TOKEN},
}
"""A user whom the demo's campaign of this number can reach."""
_TYPES: dict[str, tuple[type[Any], type[Any]]] = {
    "email": (pb.TriggerEmailRequest, pb.EmailUser),
    "phone": (pb.TriggerTextRequest, pb.TextUser),
    "device_token": (pb.TriggerPushRequest, pb.PushUser),
}


def typed(*, event: str = "", **members: Any) -> Typed:
    """Return a typed email with members of `user` changed."""
    return _made("email", 44, {**USERS[44], **members}, event)


def twin_of(body: object, campaign: object) -> Typed | None:
    """Return the typed call that says the same, or None: a proto cannot state every kind of wrong."""
    if not isinstance(campaign, int) or not 0 < campaign < 2**63:
        return None
    if not isinstance(body, dict) or not body.keys() <= {"user", "event", "send_at"}:
        return None
    body = _without_nulls(body)
    user = body.get("user", {})
    if not isinstance(user, dict) or not all(map(_is_sayable, user.items())):
        return None
    if not isinstance(body.get("event", {}), dict):
        return None
    said = _said(body, campaign)
    if said is not None and "send_at" in body:
        moment = _moment(body["send_at"])
        if moment is None:
            return None
        said.send_at.FromDatetime(moment)
    return said


def _without_nulls(members: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a message can say: in JSON, null means absent."""
    return {name: one for name, one in members.items() if one is not None}


def _moment(text: object) -> dt.datetime | None:
    """Return what a timestamp can say of `send_at`: a moment, not a text that is none."""
    try:
        moment = dt.datetime.fromisoformat(str(text))
        return moment.astimezone(dt.UTC) if moment.tzinfo else None
    except (ValueError, OverflowError):
        return None


def _said(body: Mapping[str, Any], campaign: int) -> Typed | None:
    """Return the typed call of a body without a wrong type."""
    event = json.dumps(body["event"]) if "event" in body else ""
    user = _without_nulls(body.get("user", {}))
    address, *others = [name for name in CAMPAIGN_OF if name in user] or [_address_of(campaign)]
    if others:
        return None
    members = {name: json.dumps(one) if name == "data" else one for name, one in user.items()}
    return _made(address, campaign, members if "user" in body else None, event)


def _made(address: str, campaign: int, members: Mapping[str, Any] | None, event: str) -> Typed:
    request, recipient = _TYPES[address]
    user = None if members is None else recipient(**members)
    made: Typed = request(campaign_id=campaign, user=user, event=event)
    return made


def _address_of(campaign: int) -> str:
    return next((name for name, number in CAMPAIGN_OF.items() if number == campaign), "email")


def _is_sayable(member: tuple[str, object]) -> bool:
    """Return whether a typed user can have this member and value: protobuf allows no lone surrogates."""
    name, value = member
    if value is None:
        return name in USER_FIELDS
    if name == "data":
        return isinstance(value, dict)
    return name in USER_FIELDS and isinstance(value, str) and not re.search("[\ud800-\udfff]", value)
