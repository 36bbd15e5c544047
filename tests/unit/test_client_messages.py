"""What the client sends: values arrive exactly, and what cannot be sent is refused before anything is."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion_client import Email, Message, Push, Text
from clarion_client.messages import portion, prepare, prepare_all

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
def test_every_json_object_arrives_exactly(event: dict[str, Any]) -> None:
    sent = prepare(email(event=event, data=MappingProxyType(event))).request
    assert json.loads(sent.event) == json.loads(sent.user.data) == event


def test_integers_of_any_size_are_written_out() -> None:
    sent = prepare(email(event={"order_id": 9007199254740993123, "big": 10**300})).request
    assert sent.event == f'{{"order_id":9007199254740993123,"big":{10**300}}}'


def test_json_text_passes_as_it_is() -> None:
    assert prepare(email(event='{ "a":1.0 }')).request.event == '{ "a":1.0 }'


def test_each_message_becomes_the_typed_request_of_its_channel() -> None:
    made: dict[str, Message] = {
        "email": email(timezone="Europe/Paris", locale="fr"),
        "text": Text(45, external_id="u-1", phone="+12025550123"),
        "push": Push(46, external_id="u-1", device_token="abcdefgh"),
    }
    for kind, message in made.items():
        prepared = prepare(message)
        assert prepared.item.WhichOneof("trigger") == prepared.kind == kind
        assert prepared.request.campaign_id == message.campaign_id
        assert prepared.request.user.external_id == "u-1"
    assert prepare(made["email"]).request.user.timezone == "Europe/Paris"
    assert prepare(made["text"]).request.user.phone == "+12025550123"
    assert prepare(made["push"]).request.user.device_token == "abcdefgh"


def test_a_moment_keeps_its_instant_and_its_microseconds() -> None:
    moment = dt.datetime(2026, 12, 24, 18, 0, 0, 123456, tzinfo=dt.timezone(dt.timedelta(hours=1)))
    assert prepare(email(send_at=moment)).request.send_at.ToDatetime(dt.UTC) == moment


def test_a_message_has_a_request_id_of_its_own_which_all_its_tries_share() -> None:
    one, other = email(), email()
    assert one.request_id != other.request_id
    assert prepare(one).request_id == prepare(one).request_id == one.request_id


def test_an_address_is_not_shown() -> None:
    shown = repr([email(event={"secret": 1}), Text(45, external_id="u", phone="+12025550123")])
    assert not [part for part in ("test@test.com", "+1202", "secret") if part in shown]


@pytest.mark.parametrize(
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
        ({"request_id": ""}, ValueError, "request_id"),
        ({"send_at": dt.datetime(2026, 12, 24)}, ValueError, "send_at"),  # noqa: DTZ001
        ({"send_at": "2026-12-24T18:00:00Z"}, TypeError, "send_at"),
        ({"send_at": dt.datetime.min.replace(tzinfo=AHEAD)}, ValueError, "send_at"),
        ({"campaign_id": "44"}, TypeError, "campaign_id"),
        ({"campaign_id": 2**70}, ValueError, "campaign_id"),
    ],
)  # fmt: skip
def test_what_cannot_be_sent_is_refused_by_name(
    wrong: dict[str, Any], error: type[Exception], named: str
) -> None:
    fields = {"campaign_id": 44, "external_id": "u-1", "email": "test@test.com", **wrong}
    with pytest.raises(error, match=f"^{named}: "):
        prepare(Email(**fields))


def test_what_is_nested_too_deep_is_refused() -> None:
    deep: dict[str, Any] = {}
    for _ in range(100_000):
        deep = {"a": deep}
    with pytest.raises(ValueError, match="nested too deep"):
        prepare(email(event=deep))


def test_what_is_no_message_is_refused() -> None:
    with pytest.raises(TypeError, match="Email, a Text or a Push"):
        prepare({"campaign_id": 44})  # type: ignore[arg-type]


def test_of_many_messages_the_wrong_one_is_named() -> None:
    many: Any
    for many, named in (
        ([email(), {}], r"^messages\[1\]: must be an"),
        (email(), r"^messages: must be several"),
    ):
        with pytest.raises(TypeError, match=named):
            prepare_all(many)
    with pytest.raises(ValueError, match=r"^messages\[2\]: request_id: "):
        prepare_all([email(), email(), email(request_id="")])


@given(st.lists(st.integers(1, 400_000), min_size=1, max_size=2000))
def test_no_portion_is_larger_than_a_call_may_be_and_what_is_large_goes_alone(sizes: list[int]) -> None:
    taken = sizes[: portion(sizes)]
    assert 1 <= len(taken) <= 1000
    assert len(taken) == 1 or (sum(taken) <= 2_000_000 and max(taken) <= 200_000)
    following = sizes[len(taken) : len(taken) + 1]
    full = len(taken) == 1000 or sum(taken + following) > 2_000_000
    assert full or not following or max(taken + following) > 200_000
