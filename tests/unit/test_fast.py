"""The fast path: whatever it accepts, the full validation accepts as the same trigger."""

from __future__ import annotations

import datetime as dt
import json
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion.v1 import trigger_pb2 as pb
from server.channels import CHANNELS
from server.domain.campaign import Campaign, CampaignState, Channel, RetryPolicy, SendWindow
from server.domain.key import ApiKey, Scope
from server.domain.limit import NO_OWN_LIMIT, OwnLimit
from server.domain.placement import ValidTrigger
from server.errors import RequestError
from server.intake.caller import Caller
from server.intake.fast import accept_body, accept_item, accept_message
from server.intake.strict_body import parse_body, parse_item
from server.intake.validate import validate_body, validate_item, validate_message
from tests.kit.cases import each_case

NOW = dt.datetime(2026, 11, 25, 12, tzinfo=dt.UTC)
SOON = "2026-11-26T09:00:00+01:00"
CAMPAIGNS = {
    campaign.id: campaign
    for campaign in (
        Campaign(1, 44, "email", Channel.EMAIL, ("a", "b")),
        Campaign(1, 45, "text", Channel.TEXT, ("a",), window=SendWindow(opens="09:00", closes="10:00")),
        Campaign(1, 46, "push", Channel.PUSH, ("a",), retry=RetryPolicy(ttl=60)),
        Campaign(1, 47, "paused", Channel.EMAIL, ("a",), state=CampaignState.PAUSED),
    )
}
KEY = ApiKey(uuid.uuid4(), 1, "key", frozenset({Scope.TRIGGER}), NOW)


class Catalog:
    """Four campaigns of one project."""

    def key(self, secret_hash: bytes) -> ApiKey | None:
        return None

    def campaign(self, project_id: int, campaign_id: int) -> Campaign | None:
        return CAMPAIGNS.get(campaign_id)

    def project_limit(self, project_id: int) -> OwnLimit:
        return NO_OWN_LIMIT

    def project_timezone(self, project_id: int) -> str:
        return "Europe/Berlin"


CALLER = Caller(Catalog(), KEY, "00-trace-parent-01", NOW)


def strict(data: bytes) -> ValidTrigger | None:
    return validated(lambda: validate_item(CALLER, parse_item(data)))


def validated(validate: Callable[[], ValidTrigger]) -> ValidTrigger | None:
    try:
        return validate()
    except RequestError:
        return None


def same(one: ValidTrigger | None, other: ValidTrigger | None) -> bool:
    """Return whether two paths made the same of an item, except for its id."""
    facts = [valid and (fields_of(valid), valid.placement, valid.key) for valid in (one, other)]
    return facts[0] == facts[1]


def fields_of(valid: ValidTrigger) -> dict[str, object]:
    names = valid.trigger.__struct_fields__
    return {name: getattr(valid.trigger, name) for name in names if name != "id"}


def item(campaign: int = 44, /, *, more: dict[str, Any] | None = None, **user: object) -> bytes:
    members = {"external_id": "a", "email": "a@b.co", **user}
    value = {"campaign_id": campaign, "user": members, "event": {"a": "b"}, **(more or {})}
    return json.dumps(value, ensure_ascii=False).encode()


EVERYDAY = [
    item(),
    item(timezone="America/Chicago", locale="pt_br"),
    item(more={"event": {"url": "https://example.com:80/?a=b", "at": "10:30", "n": 9007199254740993123}}),
    item(more={"event": {}}),
    item(more={"request_id": "f81d4fae-7dec-11d0-a765-00a0c91e6bf6"}),
    item(more={"request_id": "a:b"}),
    item(more={"send_at": SOON}),
    item(data={"name": "Ada", "points": 5, "member": True}),
    item(external_id="grüße 你好"),
    item(timezone=None, locale=None, data=None, phone=None, device_token=None),
    item(more={"event": None, "send_at": None, "request_id": None}),
    item(locale=None, data={"a": None, "b": "null"}, more={"event": {"a": None}, "request_id": "k"}),
    item(45, phone="+12025550123"),
    item(46, device_token="TOKEN:abc-DEF_123"),
    b'{"campaign_id":44,"user":{"external_id":"J\\u00f6rg \\"x\\"","email":"a@b.co"}}',
]


@each_case("data", EVERYDAY, ids=range(len(EVERYDAY)))
def test_an_everyday_item_takes_the_fast_path(data: bytes) -> None:
    fast = accept_item(CALLER, data)
    assert fast is not None
    assert same(fast, strict(data))


ODD = [
    b"5",
    b"[]",
    b"{}",
    b"",
    b"\xff",
    item(999),
    item(47),
    item(48),
    item(45),
    item(email=""),
    item(email="noone@"),
    item(external_id=""),
    item(external_id="a\x7f"),
    item(external_id="a\u2028"),
    item(external_id="x" * 256),
    item(timezone="Mars/Base"),
    item(locale="e!"),
    item(locale="en" + "-abcdefgh" * 4),
    item(nick="x"),
    item(data=[]),
    item(more={"request_id": ""}),
    item(more={"request_id": "a b"}),
    item(more={"request_id": "x" * 256}),
    item(external_id=None),
    item(email=None),
    item(nick=None),
    item(more={"x": None}),
    item(more={"campaign_id": None}),
    item(more={"user": None}),
    item(locale=None).replace(b'"locale"', b'"locale": "en", "locale"'),
    item(more={"send_at": "tomorrow"}),
    item(more={"send_at": "2020-01-01T00:00:00Z"}),
    item(more={"send_at": "2030-01-01T00:00:00Z"}),
    item(more={"event": {"a": "x" * 60_000}}),
    item(more={"event": {"a": "\x00"}}),
    item(more={"x": 1}),
    item().replace(b"44", b'"44"', 1),
    item().replace(b"44", b"44.0", 1),
    item().replace(b'{"a": "b"}', b'{"a": 1, "a": 2}'),
    item().replace(b'{"a": "b"}', b'{"a": 1e400}'),
    item().replace(b'{"a": "b"}', b'{"a": "\\ud800"}'),
    item().replace(b'{"a": "b"}', b'{"a": "\\u0000"}'),
    item().replace(b'{"a": "b"}', b'{"a": "\\u003a", "b": 1, "b": 2}'),
    item().replace(b'{"a": "b"}', b'{"a": 1, "\\u0061": ":"}'),
    item().replace(b'"user"', b'"user": {}, "user"'),
    item().replace(b'"external_id"', b'"email": "x:y", "external_id"'),
    item()[:-1] + b', "campaign_id": 45}',
]


@each_case("data", ODD, ids=range(len(ODD)))
def test_an_invalid_or_unusual_item_is_validated(data: bytes) -> None:
    assert accept_item(CALLER, data) is None


texts = st.text(max_size=6) | st.sampled_from(["a:b", "é", "\\", '"', "\x00", "\u2028", "en", "UTC", "", "{"])
scalars = texts | st.integers() | st.booleans() | st.none() | st.floats()
flat = st.dictionaries(texts, scalars | st.lists(scalars, max_size=2), max_size=3)
users = st.fixed_dictionaries(
    {"external_id": texts, "email": st.sampled_from(["a@b.co", "a@münchen.de", "x"]) | texts},
    optional={
        "phone": st.sampled_from(["+12025550123", "+1", "x", None]),
        "device_token": st.sampled_from(["TOKEN:1234", "short"]),
        "timezone": st.sampled_from(["UTC", "US/Pacific", "", None]) | texts,
        "locale": st.sampled_from(["en", "zh_hans_cn", "en-x-a", None]) | texts,
        "data": flat | st.none(),
        "nick": texts,
    },
)
items = st.fixed_dictionaries(
    {"campaign_id": st.sampled_from([44, 44, 45, 46, 47, 48, 49]), "user": users},
    optional={
        "event": flat | st.none(),
        "send_at": st.sampled_from([SOON, "2020-01-01T00:00:00Z", "x"]) | scalars,
        "request_id": st.sampled_from(["k", "a:b", "a b"]) | scalars,
        "other": scalars,
    },
)


@given(items, st.sampled_from([{"ensure_ascii": True}, {"ensure_ascii": False}]))
def test_both_paths_agree_on_items(value: object, how: dict[str, Any]) -> None:
    data = json.dumps(value, **how).encode("utf-8", "surrogatepass")
    fast = accept_item(CALLER, data)
    assert fast is None or same(fast, strict(data))


@given(items, st.data())
def test_both_paths_agree_on_damaged_items(value: object, data: st.DataObject) -> None:
    raw = bytearray(json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass"))
    raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.sampled_from(b'{}[]",:\\u 0a\x00\xff'))
    fast = accept_item(CALLER, bytes(raw))
    assert fast is None or same(fast, strict(bytes(raw)))


bodies = st.tuples(items, st.sampled_from([None, "k", '"quoted"', "a b", ""]))


@given(bodies)
def test_both_paths_agree_on_rest_bodies(call: tuple[dict[str, Any], str | None]) -> None:
    value, header = call
    campaign_id = value["campaign_id"]
    data = json.dumps({name: one for name, one in value.items() if name not in {"campaign_id", "request_id"}})
    fast = accept_body(CALLER, campaign_id, data.encode(), header)
    full = validated(lambda: validate_body(CALLER, campaign_id, parse_body(data.encode()), header))
    assert fast is None or same(fast, full)


def test_an_everyday_body_takes_the_fast_path() -> None:
    data = item().replace(b'"campaign_id": 44, ', b"")
    fast = accept_body(CALLER, 44, data, '"k"')
    assert fast is not None
    assert fast.key is not None
    assert fast.key.key == "k"
    assert same(fast, validate_body(CALLER, 44, parse_body(data), "k"))


USER = '"user": {"external_id": "a", "email": "a@b.co"}'


@each_case(
    "body",
    [
        '{"user": {"external_id": "a", "email": "a@b.co", "email": "a@b.co"}, "event": {}}',
        f'{{{USER}, "event": {{"a": 1, "a": 2}}}}',
        f'{{{USER}, "event": {{"a": 1}}, "event": {{"a": 1}}}}',
        f'{{{USER}, "event": {{"a": NaN}}}}',
        f'{{{USER}, "event": {{"a": 1e999}}}}',
        f'{{{USER}, "send_at": ""}}',
        f'{{{USER}, "event": {{}},}}',
        f'{{{USER}, "event": {{"a": {{"b": {{}}}}}}}}',
        f'{{{USER}, "event": {{"a": "\x00"}}}}',
        f'{{{USER}, "event": {"[" * 50_000 + "]" * 50_000}}}',
        f'{{{USER}, "request_id": "k"}}',
        f'{{{USER}, "campaign_id": 44}}',
        '{"user": {"external_id": "a", "email": "a@b.co", "nick": "b"}, "event": {}}',
        '{"user": {"external_id": "a\nb", "email": "a@b.co"}}',
        '{"user": {"external_id": "a", "email": null}}',
        '{"user": {"external_id": "a", "email": "a@b.co", "locale": ""}}',
    ],
)
def test_an_unusual_body_is_validated(body: str) -> None:
    assert accept_body(CALLER, 44, body.encode(), None) is None


_KINDS: dict[str, tuple[type[Any], type[Any]]] = {
    "email": (pb.TriggerEmailRequest, pb.EmailUser),
    "text": (pb.TriggerTextRequest, pb.TextUser),
    "push": (pb.TriggerPushRequest, pb.PushUser),
}
encodable = st.text(st.characters(codec="utf-8"), max_size=6)
typed_users = st.fixed_dictionaries(
    {"external_id": encodable | st.just("a")},
    optional={
        "timezone": st.sampled_from(["UTC", "x"]),
        "locale": st.sampled_from(["en", "zh_hans_cn", "!"]),
        "data": st.sampled_from(['{"a": 1}', "[]", '{"a": 1, "a": 2}', '{"a": {}}', '{"u": "a:b"}']),
    },
)
addresses = st.sampled_from(["a@b.co", "+12025550123", "TOKEN:1234", "short", ""])
events = st.sampled_from(["", "{}", '{"a": 1}', '{"a": 1, "a": 2}', '{"a": "\\u0000"}', '{"a": [1]}', "5"])
times = st.sampled_from([None, NOW, NOW + dt.timedelta(days=1), NOW - dt.timedelta(days=1)])
campaigns = st.sampled_from([0, 44, 45, 46, 47])


@given(st.sampled_from(sorted(_KINDS)), campaigns, typed_users, addresses, events, times)
def test_both_paths_agree_on_typed_requests(  # noqa: PLR0917 - hypothesis passes them by position
    kind: str, campaign: int, user: dict[str, str], address: str, event: str, send_at: dt.datetime | None
) -> None:
    request, recipient = _KINDS[kind]
    who = recipient(**user, **{CHANNELS[Channel(kind)].address.field: address})
    typed = request(campaign_id=campaign, user=who, event=event, request_id="k", send_at=send_at)
    fast = accept_message(CALLER, typed, None)
    assert fast is None or same(fast, validated(lambda: validate_message(CALLER, typed)))


@pytest.mark.parametrize("send_at", [None, NOW + dt.timedelta(days=1)])
def test_an_everyday_typed_request_takes_the_fast_path(send_at: dt.datetime | None) -> None:
    user = pb.EmailUser(external_id="a", email="a@b.co", timezone="UTC", locale="en", data='{"a": "b:c"}')
    typed = pb.TriggerEmailRequest(
        campaign_id=44, user=user, event='{"a": 1}', request_id="k", send_at=send_at
    )
    fast = accept_message(CALLER, typed, None)
    assert fast is not None
    assert same(fast, validate_message(CALLER, typed))


def test_a_request_of_another_channel_is_validated() -> None:
    typed = pb.TriggerEmailRequest(campaign_id=45, user=pb.EmailUser(external_id="a", email="a@b.co"))
    assert accept_message(CALLER, typed, None) is None


@pytest.mark.parametrize("size", [59_990, 60_000, 60_001])
def test_limits_in_bytes_hold_on_the_fast_path(size: int) -> None:
    """The limit is 60,000 bytes, counted in UTF-8, over REST and in typed requests."""
    event = '{"a": "' + "é" * ((size - 9) // 2) + "x" * ((size - 9) % 2) + '"}'
    assert len(event.encode()) == size
    body = f'{{"user": {{"external_id": "a", "email": "a@b.co"}}, "event": {event}}}'
    typed = pb.TriggerEmailRequest(
        campaign_id=44, user=pb.EmailUser(external_id="a", email="a@b.co"), event=event
    )
    for fast in (accept_body(CALLER, 44, body.encode(), None), accept_message(CALLER, typed, None)):
        assert (fast is not None) == (size <= 60_000)
