"""Messages as requests: exact values, and arguments that cannot be sent."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from decimal import Decimal
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import clarion_client
from clarion.v1 import trigger_pb2
from clarion_client import Email, Message, Push, Text
from clarion_client.messages import Options
from clarion_client.prepare import portion, prepare, prepare_all
from tests.kit.cases import each_case

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc"), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


AHEAD = dt.timezone(dt.timedelta(hours=1))


def email(**given: Any) -> Email:
    return Email(44, **{"external_id": "u-1", "email": "test@test.com", **given})


@given(st.dictionaries(st.text("abc"), JSON, max_size=3))
def test_json_objects_are_sent_exactly(event: dict[str, Any]) -> None:
    sent = prepare(email(event=event, data=MappingProxyType(event))).request
    assert json.loads(sent.event) == json.loads(sent.user.data) == event


def test_integers_of_any_size_are_sent_exactly() -> None:
    sent = prepare(email(event={"order_id": 9007199254740993123, "big": 10**300})).request
    assert sent.event == f'{{"order_id":9007199254740993123,"big":{10**300}}}'


def test_json_text_is_sent_unchanged() -> None:
    assert prepare(email(event='{ "a":1.0 }')).request.event == '{ "a":1.0 }'


def test_message_becomes_the_request_of_its_channel() -> None:
    made: dict[str, Message] = {
        "email": email(timezone="Europe/Paris", locale="fr"),
        "text": Text(45, external_id="u-1", phone="+12025550123"),
        "push": Push(46, external_id="u-1", device_token="abcdefgh"),
    }
    for kind, message in made.items():
        prepared = prepare(message)
        assert prepared.item.WhichOneof("trigger") == prepared.channel == kind
        assert prepared.request.campaign_id == message.campaign_id
        assert prepared.request.user.external_id == "u-1"
    assert prepare(made["email"]).request.user.timezone == "Europe/Paris"
    assert prepare(made["text"]).request.user.phone == "+12025550123"
    assert prepare(made["push"]).request.user.device_token == "abcdefgh"


@pytest.mark.parametrize("kind", [Email, Text, Push])
def test_message_classes_have_the_fields_of_the_contract(kind: type[Message]) -> None:
    item: Any = trigger_pb2.BatchItem.DESCRIPTOR
    request = item.fields_by_name[kind.__name__.lower()].message_type
    user = request.fields_by_name["user"].message_type
    fields = {field.name for message in (request, user) for field in message.fields} - {"user"}
    assert {field.name for field in dataclasses.fields(kind)} == fields


def test_trigger_calls_accept_every_common_field() -> None:
    common = {field.name for field in dataclasses.fields(Message)} - {"campaign_id"}
    assert set(Options.__annotations__) == common


def test_every_channel_has_a_message_class_and_a_call() -> None:
    item: Any = trigger_pb2.BatchItem.DESCRIPTOR
    for field in item.oneofs_by_name["trigger"].fields:
        assert hasattr(clarion_client, field.name.capitalize())
        assert hasattr(clarion_client.Client, f"trigger_{field.name}")


def test_optional_arguments_may_be_none() -> None:
    optional = {field.name: None for field in dataclasses.fields(Message) if field.default is None}
    assert set(optional) == {"event", "data", "timezone", "locale", "send_at", "retain"}
    assert prepare(email(**optional, request_id="r")).item == prepare(email(request_id="r")).item


def test_send_at_keeps_its_microseconds() -> None:
    moment = dt.datetime(2026, 12, 24, 18, 0, 0, 123456, tzinfo=dt.timezone(dt.timedelta(hours=1)))
    assert prepare(email(send_at=moment)).request.send_at.ToDatetime(dt.UTC) == moment


def test_request_id_is_unique_per_message() -> None:
    one, other = email(), email()
    assert one.request_id != other.request_id
    assert prepare(one).request_id == prepare(one).request_id == one.request_id


def test_repr_hides_addresses_and_data() -> None:
    shown = repr([email(event={"secret": 1}), Text(45, external_id="u", phone="+12025550123")])
    assert not [part for part in ("test@test.com", "+1202", "secret") if part in shown]


@each_case(
    ("wrong", "error", "named"),
    [
        ({"event": {"a": float("nan")}}, ValueError, "event"),
        ({"event": {"a": float("inf")}}, ValueError, "event"),
        ({"event": {"a": Decimal(1)}}, TypeError, "event"),
        ({"data": {"a": {1, 2}}}, TypeError, "data"),
        ({"event": [1]}, TypeError, "event"),
        ({"event": {"a": "\ud800"}}, ValueError, "event"),
        ({"external_id": "\ud800"}, ValueError, "external_id"),
        ({"external_id": 7}, TypeError, "external_id"),
        ({"email": None}, TypeError, "email"),
        ({"external_id": None}, TypeError, "external_id"),
        ({"request_id": ""}, ValueError, "request_id"),
        ({"send_at": dt.datetime(2026, 12, 24)}, ValueError, "send_at"),  # noqa: DTZ001
        ({"send_at": "2026-12-24T18:00:00Z"}, TypeError, "send_at"),
        ({"send_at": dt.datetime.min.replace(tzinfo=AHEAD)}, ValueError, "send_at"),
        ({"campaign_id": "44"}, TypeError, "campaign_id"),
        ({"campaign_id": 2**70}, ValueError, "campaign_id"),
    ],
)  # fmt: skip
def test_invalid_field_is_rejected_by_name(wrong: dict[str, Any], error: type[Exception], named: str) -> None:
    fields = {"campaign_id": 44, "external_id": "u-1", "email": "test@test.com", **wrong}
    with pytest.raises(error, match=f"^{named}: "):
        prepare(Email(**fields))


@pytest.mark.parametrize("levels", [33, 500, 5000, 100_000])
def test_deep_nesting_is_rejected(levels: int) -> None:
    """The same on every Python, although the limit of its JSON encoder differs."""
    with pytest.raises(ValueError, match=r"^event: is nested deeper than 32 levels, which is the limit$"):
        prepare(email(event=nested(levels)))


def test_the_deepest_nesting_and_brackets_in_text_are_sent() -> None:
    prepare(email(event=nested(32)))
    prepare(email(event={"a": "[" * 100, "b": [{}] * 100}))


def nested(levels: int) -> dict[str, Any]:
    """Return an object with as many levels of objects and lists in turn."""
    inner: Any = {}
    for level in range(1, levels):
        inner = {"a": inner} if level % 2 or level == levels - 1 else [inner]
    made: dict[str, Any] = inner
    return made


def test_other_objects_are_not_messages() -> None:
    with pytest.raises(TypeError, match="must be one of Email, Text, Push, not dict"):
        prepare({"campaign_id": 44})  # type: ignore[arg-type]


def test_invalid_message_is_named_by_its_index() -> None:
    many: Any
    for many, named in (
        ([email(), {}], r"^messages\[1\]: must be one of"),
        (email(), r"^messages: must be a list"),
    ):
        with pytest.raises(TypeError, match=named):
            prepare_all(many)
    with pytest.raises(ValueError, match=r"^messages\[2\]: request_id: "):
        prepare_all([email(), email(), email(request_id="")])


@given(st.lists(st.integers(1, 400_000), min_size=1, max_size=2000))
def test_portions_fit_in_a_call(sizes: list[int]) -> None:
    taken = sizes[: portion(sizes)]
    assert 1 <= len(taken) <= 1000
    assert len(taken) == 1 or (sum(taken) <= 2_000_000 and max(taken) <= 200_000)
    following = sizes[len(taken) : len(taken) + 1]
    full = len(taken) == 1000 or sum(taken + following) > 2_000_000
    assert full or not following or max(taken + following) > 200_000
