"""The everyday item of a REST batch, judged at a tenth of the cost: no protobuf message, no Python JSON.

What is taken here is right, and is what the strict way makes of it; a test holds the two together. Whatever
is not plain, or may be wrong, goes the strict way, which says what is wrong.
"""

from __future__ import annotations

import datetime as dt
import functools
import re
from collections.abc import Iterable

import msgspec
from msgspec.structs import astuple

from ..domain.campaign import Campaign, CampaignState, Channel
from ..domain.locale import normal_locale
from ..domain.once import once
from ..domain.placement import Placement
from ..domain.trigger import Trigger, new_id
from ..errors import RequestError, Violation
from .addresses import is_plain_email, phone_problem
from .judging import Judge, Ready
from .send_at import parse_send_at, send_at_violation
from .timezones import timezone_problem

__all__ = ["PlainItems"]

_MAX_EXTERNAL_ID = 255
_MAX_OBJECT = 60_000
# Escapes of what no text can carry: NUL, and halves of surrogate pairs, whole pairs included.
_ODD_ESCAPE = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")
_KEY = re.compile("[!-~]{0,255}")
_PHONE = re.compile(r"\+[1-9][0-9]{6,14}")
_TOKEN = re.compile("[A-Za-z0-9_:-]{8,4096}")
_LOCALE = re.compile("[A-Za-z]{2,8}(?:[-_][A-Za-z0-9]{1,8})*")
_MAX_LOCALE = 35


_ABSENT = msgspec.Raw(b"")


class _User(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    external_id: str
    email: str | None = None
    phone: str | None = None
    device_token: str | None = None
    timezone: str | None = None
    locale: str | None = None
    data: msgspec.Raw = _ABSENT


class _Item(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    campaign_id: int
    user: _User
    event: msgspec.Raw = _ABSENT
    send_at: str | None = None
    request_id: str | None = None


_item_decoder = msgspec.json.Decoder(_Item)
_flat_decoder = msgspec.json.Decoder(dict[str, str | int | float | bool | None])


class _Target(msgspec.Struct, frozen=True):
    """A campaign that takes triggers now, and where they go, by time zone and `send_at`."""

    campaign: Campaign
    places: dict[tuple[str, dt.datetime | None], Placement]


class PlainItems:
    """Judges the plain items of one batch, and remembers what they have in common."""

    def __init__(self, judge: Judge) -> None:
        """Take the judge of the batch, who knows the caller and the time."""
        self._judge = judge
        self._targets: dict[int, _Target | None] = {}
        self._moments: dict[str, dt.datetime | None] = {}

    def ready(self, data: bytes) -> Ready | None:
        """Return the trigger of an item that is plain and has nothing wrong, else None."""
        item = _decoded(data)
        if item is None:
            return None
        target = self._target(item.campaign_id)
        user = item.user
        address = target and _address(user, target.campaign.channel)
        locale = _plain_locale(user.locale or "")
        send_at = self._moment(item.send_at) if item.send_at is not None else None
        if (
            not (target and address and _is_plain_user(user))
            or locale is None
            or (item.send_at is not None and send_at is None)
            or not _KEY.fullmatch(item.request_id or "")
        ):
            return None
        return self._made(item, target, address, locale, send_at)

    def _made(
        self, item: _Item, target: _Target, address: str, locale: str, send_at: dt.datetime | None
    ) -> Ready:
        user, campaign = item.user, target.campaign
        timezone = user.timezone or ""
        trigger = Trigger(
            new_id(),
            campaign.project_id,
            campaign.id,
            campaign.channel,
            user.external_id,
            address,
            timezone,
            locale,
            bytes(user.data).decode(),
            bytes(item.event).decode(),
            self._judge.traceparent,
            send_at,
        )
        where = target.places.get((timezone, send_at))
        if where is None:
            where = target.places[timezone, send_at] = self._judge.place(campaign, timezone, send_at)
        return Ready(trigger, where, once(item.request_id, trigger) if item.request_id else None)

    def _target(self, campaign_id: int) -> _Target | None:
        if campaign_id not in self._targets:
            self._targets[campaign_id] = self._found(campaign_id)
        return self._targets[campaign_id]

    def _found(self, campaign_id: int) -> _Target | None:
        try:
            campaign = self._judge.campaign(campaign_id)
        except RequestError:
            return None
        return _Target(campaign, {}) if campaign.state is CampaignState.ACTIVE else None

    def _moment(self, text: str) -> dt.datetime | None:
        """Return when to send, or None if that cannot be said or asked for."""
        if text not in self._moments:
            self._moments[text] = _good_moment(text, self._judge.now)
        return self._moments[text]


def _good_moment(text: str, now: dt.datetime) -> dt.datetime | None:
    found = parse_send_at(text)
    return None if isinstance(found, Violation) or send_at_violation(found, now) else found


def _decoded(data: bytes) -> _Item | None:
    """Decode an item without nested values, and without a name that stands twice.

    An object whose names are as many as its colons has no name twice, and no colon inside a string.
    """
    if b"\\u" in data and _ODD_ESCAPE.search(data):
        return None
    try:
        item = _item_decoder.decode(data)
        event, facts = _members(item.event), _members(item.user.data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    members = *astuple(item), *astuple(item.user)
    names = len(members) - members.count(None) - members.count(_ABSENT) + len(event) + len(facts)
    if data.count(b":") == names:
        return item
    if b"\\u" in data:  # perhaps a colon that does not look like one
        return None
    said = (*members, *event, *facts, *event.values(), *facts.values())
    return item if data.count(b":") == names + _colons(said) else None


def _members(raw: msgspec.Raw) -> dict[str, str | int | float | bool | None]:
    """Return the members of a flat object; none of one that is not there."""
    return {} if raw is _ABSENT else _flat_decoder.decode(raw)


def _colons(values: Iterable[object]) -> int:
    return sum(value.count(":") for value in values if isinstance(value, str))


def _is_plain_user(user: _User) -> bool:
    """Tell whether what all channels have in common is right. What is printable has no control characters."""
    name, zone = user.external_id, user.timezone
    return 0 < len(name) <= _MAX_EXTERNAL_ID and name.isprintable() and not (zone and timezone_problem(zone))


def _address(user: _User, channel: Channel) -> str | None:
    """Return the address of a channel, as it is sent to, if it is right."""
    match channel:
        case Channel.EMAIL:
            return user.email if is_plain_email(user.email or "") else None
        case Channel.TEXT:
            number = user.phone or ""
            return number if _PHONE.fullmatch(number) and not phone_problem(number) else None
        case Channel.PUSH:
            return user.device_token if _TOKEN.fullmatch(user.device_token or "") else None


@functools.lru_cache(maxsize=1024)
def _plain_locale(tag: str) -> str | None:
    """Return a tag as it is stored, or None if it is none."""
    if tag and not (len(tag) <= _MAX_LOCALE and _LOCALE.fullmatch(tag)):
        return None
    try:
        return normal_locale(tag)
    except ValueError:
        return None
