"""The everyday item of a REST batch, judged at a tenth of the cost: no protobuf message, no Python JSON.

What is taken here is right, and is what the strict way makes of it; a test holds the two together. Whatever
is not plain, or may be wrong, goes the strict way, which says what is wrong.
"""

from __future__ import annotations

import datetime as dt
import operator
import re
from collections.abc import Callable, Iterable
from typing import Generic, TypeAlias, TypeVar

import msgspec
from msgspec.structs import astuple

from clarion.v1 import trigger_pb2 as pb

from ..channels import CHANNELS
from ..domain.campaign import Campaign, CampaignState, Channel
from ..domain.idempotency import IdempotencyKey
from ..domain.locale import normal_locale
from ..domain.placement import Placement
from ..domain.trigger import Trigger, new_id
from ..errors import RequestError, Violation
from .send_at import parse_send_at, send_at_violation
from .timezones import timezone_problem
from .typed import TriggerRequest
from .validate import TriggerValidator, ValidTrigger

__all__ = ["FastPath"]

_MAX_EXTERNAL_ID = 255
_MAX_OBJECT = 60_000
# Escapes of what no text can carry: NUL, and halves of surrogate pairs, whole pairs included.
_ODD_ESCAPE = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")
_KEY = re.compile("[!-~]{1,255}")
_LOCALE = re.compile("[A-Za-z]{2,8}(?:[-_][A-Za-z0-9]{1,8})*")
_MAX_LOCALE = 35


_WRONG = dt.datetime.min.replace(tzinfo=dt.UTC)
"""No moment that anybody can ask for."""
_Flat: TypeAlias = dict[str, str | int | float | bool | None]
K = TypeVar("K")
V = TypeVar("V")
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


_MEMBERS = len(_Item.__struct_fields__ + _User.__struct_fields__)
_NO_MEMBERS: _Flat = {}
_BACKSLASH = ord("\\")  # a byte is looked for at a quarter of the cost of bytes
_item_decoder = msgspec.json.Decoder(_Item)
_flat_decoder = msgspec.json.Decoder(_Flat)


class _Remembered(dict[K, V], Generic[K, V]):
    """What a function returned, so that it is called once for each argument. A look-up is no call."""

    def __init__(self, function: Callable[[K], V]) -> None:
        super().__init__()
        self._function = function

    def __missing__(self, argument: K) -> V:
        value = self[argument] = self._function(argument)
        return value


class FastPath:
    """Judges the plain items of one batch, and remembers what they have in common."""

    def __init__(self, judge: TriggerValidator) -> None:
        """Take the judge of the batch, who knows the caller and the time."""
        self._judge = judge
        self._targets = _Remembered(self._target)
        self._places = _Remembered(self._place)
        self._zones = _Remembered(_is_zone)
        self._locales = _Remembered(_locale)
        self._moments = _Remembered(self._moment)

    def rest(self, data: bytes) -> ValidTrigger | None:
        """Return the trigger of an item that is plain and has nothing wrong, else None."""
        item = _decoded(data)
        return None if item is None else self._ready(item)

    def typed(self, item: pb.BatchItem) -> ValidTrigger | None:
        """Do the same for a typed item."""
        kind = item.WhichOneof("trigger")
        request = _plain_request(kind, getattr(item, kind)) if kind else None
        ready = None if request is None else self._ready(request)
        return ready if ready and ready.trigger.channel == kind else None

    def _ready(self, item: _Item) -> ValidTrigger | None:
        target = self._targets[item.campaign_id]
        if target is None:
            return None
        campaign, address_of = target
        user = item.user
        address = address_of(user)
        locale = self._locales[user.locale]
        moment = self._moments[item.send_at]
        if (
            address is None
            or locale is None
            or moment is _WRONG
            or not self._zones[user.timezone]
            or not 0 < len(user.external_id) <= _MAX_EXTERNAL_ID
            or not user.external_id.isprintable()  # it has no control characters, then
            or (item.request_id is not None and not _KEY.fullmatch(item.request_id))
            or len(item.event) > _MAX_OBJECT
            or len(user.data) > _MAX_OBJECT
        ):
            return None
        return self._made(item, campaign, address, locale, moment)

    def _made(
        self, item: _Item, campaign: Campaign, address: str, locale: str, send_at: dt.datetime | None
    ) -> ValidTrigger:
        user = item.user
        trigger = Trigger(
            new_id(),
            campaign.project_id,
            campaign.id,
            campaign.channel,
            user.external_id,
            address,
            user.timezone or "",
            locale,
            str(user.data, "utf-8"),
            str(item.event, "utf-8"),
            self._judge.traceparent,
            send_at,
        )
        place = self._places[campaign.id, user.timezone, send_at]
        return ValidTrigger(
            trigger, place, IdempotencyKey.of(item.request_id, trigger) if item.request_id else None
        )

    def _target(self, campaign_id: int) -> tuple[Campaign, Callable[[_User], str | None]] | None:
        """Return a campaign that takes triggers of the caller now, and what finds its address in a user."""
        try:
            campaign = self._judge.campaign(campaign_id)
        except RequestError:
            return None
        return (campaign, _address_of(campaign.channel)) if campaign.state is CampaignState.ACTIVE else None

    def _place(self, of: tuple[int, str | None, dt.datetime | None]) -> Placement:
        campaign_id, timezone, send_at = of
        return self._judge.place(self._judge.campaign(campaign_id), timezone or "", send_at)

    def _moment(self, text: str | None) -> dt.datetime | None:
        """Return when to send; _WRONG if that cannot be said or asked for."""
        if text is None:
            return None
        found = parse_send_at(text)
        return _WRONG if isinstance(found, Violation) or send_at_violation(found, self._judge.now) else found


def _is_zone(name: str | None) -> bool:
    return timezone_problem(name or "") is None


def _locale(tag: str | None) -> str | None:
    """Return a tag as it is stored, or None if it is none."""
    if not tag:
        return ""
    try:
        return normal_locale(tag) if len(tag) <= _MAX_LOCALE and _LOCALE.fullmatch(tag) else None
    except ValueError:
        return None


def _decoded(data: bytes) -> _Item | None:
    """Decode an item without nested values, and without a name that stands twice."""
    try:
        item = _item_decoder.decode(data)
        event = _flat_decoder.decode(item.event) if item.event else _NO_MEMBERS
        facts = _flat_decoder.decode(item.user.data) if item.user.data else _NO_MEMBERS
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    names = _names(item, item.user) + len(event) + len(facts)
    if data.count(b":") == names and _BACKSLASH not in data:  # as in nearly all
        return item
    return item if _is_simple(data, names, astuple(item) + astuple(item.user), event, facts) else None


def _names(item: _Item, user: _User) -> int:
    """Return how many of their members are there, one by one: this takes half as long as a loop."""
    return _MEMBERS - (
        (item.event is _ABSENT)
        + (item.send_at is None)
        + (item.request_id is None)
        + (user.email is None)
        + (user.phone is None)
        + (user.device_token is None)
        + (user.timezone is None)
        + (user.locale is None)
        + (user.data is _ABSENT)
    )


def _plain_request(channel: str, request: TriggerRequest) -> _Item | None:
    """Return a typed request as an item, if its event and the user's data are as simple as those."""
    user = request.user
    if request.HasField("send_at") or not (_is_flat(request.event) and _is_flat(user.data)):
        return None
    address = CHANNELS[Channel(channel)].address.field
    told = {address: getattr(user, address)}
    facts = _User(user.external_id, timezone=user.timezone, locale=user.locale, data=_raw(user.data), **told)
    return _Item(request.campaign_id, facts, _raw(request.event), None, request.request_id or None)


def _raw(text: str) -> msgspec.Raw:
    return msgspec.Raw(text) if text else _ABSENT


def _is_flat(text: str) -> bool:
    """Tell whether a text is empty, or a simple JSON object."""
    if not text:
        return True
    try:
        members = _flat_decoder.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return _is_simple(text.encode(), len(members), (), members)


def _is_simple(data: bytes, names: int, members: Iterable[object], *objects: _Flat) -> bool:
    """Tell whether JSON has no name twice and no escape of what no text can carry, if it is sure.

    An object whose names are as many as its colons has no name twice, and no colon inside a string; the
    colons inside strings can be counted where none is escaped.
    """
    escaped = _BACKSLASH in data
    if escaped and _ODD_ESCAPE.search(data):
        return False
    colons = data.count(b":")
    if colons == names or escaped:
        return colons == names
    inside = (value for one in objects for value in (*one, *one.values()))
    return colons == names + _colons(members) + _colons(inside)


def _colons(values: Iterable[object]) -> int:
    return sum(value.count(":") for value in values if isinstance(value, str))


def _address_of(channel: Channel) -> Callable[[_User], str | None]:
    """Return a function that returns a user's address of the channel if it is plain."""
    address = CHANNELS[channel].address
    get, is_plain = operator.attrgetter(address.field), address.is_plain

    def plain(user: _User) -> str | None:
        found: str | None = get(user)
        return found if found and is_plain(found) else None

    return plain
