"""The fast path: whatever it accepts, the full validation accepts as the same trigger."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion.v1 import trigger_pb2 as pb
from server.intake.fast import accept_body, accept_item, accept_message
from server.intake.strict_body import parse_body
from server.intake.validate import validate_body
from tests.kit.cases import each_case
from tests.kit.intake import CALLER, SOON, item, same, strict, validated

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
