"""The fingerprint that decides whether two calls with one idempotency key are the same call."""

from __future__ import annotations

import datetime as dt
import json
import uuid
from random import Random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.domain.campaign import Channel
from server.domain.canonical_json import canonical
from server.domain.idempotency import NOT_CONTENT, IdempotencyKey, fingerprint
from server.domain.trigger import JSON_OBJECTS, Trigger
from server.intake.contract import OBJECTS
from tests.kit.cases import each_case
from tests.kit.cpu import little_cpu

texts = st.text(st.characters(codec="utf-8", exclude_characters="\x00"))

EMAIL = Trigger(
    uuid.UUID(int=1),
    project_id=7,
    campaign_id=44,
    channel=Channel.EMAIL,
    external_id="kündin-1",
    address="a@example.com",
    timezone="Europe/Berlin",
    locale="pt-BR",
    user_data='{"n": 1.10}',
    event='{"order": 9007199254740993}',
    traceparent="00-x",
)
SCHEDULED = Trigger(
    uuid.UUID(int=2),
    project_id=7,
    campaign_id=45,
    channel=Channel.TEXT,
    external_id="c",
    address="+12025550123",
    send_at=dt.datetime(2026, 12, 24, 17, tzinfo=dt.UTC),
)
OTHER_JSON = '{"other": 1}'
OTHER_VALUES = {
    "id": uuid.UUID(int=3),
    "project_id": 8,
    "campaign_id": 46,
    "channel": Channel.PUSH,
    "send_at": dt.datetime(2027, 1, 1, tzinfo=dt.UTC),
    "accepted_at": dt.datetime(2027, 1, 1, tzinfo=dt.UTC),
}


@pytest.mark.parametrize(
    ("trigger", "stored"),
    [
        (EMAIL, "60d368c97c8a39242eea6dc1654c3e3fd0b3da1fb73f585c929d78142f024c8c"),
        (SCHEDULED, "98838188ecbba92563d65fe963496af15955c6204be1a90fcc102643cc9dcc94"),
    ],
    ids=["email", "scheduled"],
)
def test_stored_fingerprints_still_match(trigger: Trigger, stored: str) -> None:
    """The literals are from release 0.1: a retry after an upgrade must find the first call."""
    key = IdempotencyKey.of("k", trigger)
    assert key.is_same_call(trigger, bytes.fromhex(stored))
    assert not key.is_same_call(trigger, fingerprint(msgspec.structs.replace(trigger, external_id="x")))


def with_json(name: str, text: str) -> bytes:
    return fingerprint(msgspec.structs.replace(EMAIL, **{name: text}))


@pytest.mark.parametrize("name", JSON_OBJECTS)
@pytest.mark.parametrize(
    ("one", "other"),
    [
        ('{"a": 1, "b": {"c": [1, 2], "d": null}}', '{"b":{"d":null,"c":[1,2]},"a":1}'),
        ('{"a": "ü/\\n"}', '{ "\\u0061" :\n"\\u00fc\\/\\u000a" }'),
        ('{"a": "\\ud83d\\ude00"}', '{"a": "\U0001f600"}'),
        ("{}", "{ }"),
    ],
)
def test_json_is_compared_by_value(name: str, one: str, other: str) -> None:
    assert with_json(name, one) == with_json(name, other)


@each_case("name", JSON_OBJECTS)
@each_case(
    ("one", "other"),
    [
        ('{"a": 1}', '{"a": 2}'),
        ('{"a": 1}', '{"a": "1"}'),
        ('{"a": 1.10}', '{"a": 1.1}'),
        ('{"a": 1}', '{"a": 1.0}'),
        ('{"a": 1e2}', '{"a": 1E2}'),
        ('{"a": -0}', '{"a": 0}'),
        ('{"a": 9007199254740992}', '{"a": 9007199254740993}'),
        ('{"a": [1, 2]}', '{"a": [2, 1]}'),
        ('{"a": null}', "{}"),
        ('{"a": false}', '{"a": 0}'),
        ('{"a": {}}', '{"a": []}'),
        ('{"a": "\u00e9"}', '{"a": "e\u0301"}'),
        ("{}", ""),
    ],
)
def test_other_values_are_other_content(name: str, one: str, other: str) -> None:
    assert with_json(name, one) != with_json(name, other)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(texts, values, max_size=5), st.randoms())
def test_order_and_blanks_do_not_count(event: dict[str, object], random: Random) -> None:
    shuffled = json.loads(
        json.dumps(event), object_pairs_hook=lambda pairs: dict(random.sample(pairs, len(pairs)))
    )
    written = json.dumps(shuffled, ensure_ascii=random.random() < 0.5, indent=random.choice([None, 2]))
    assert canonical(written) == canonical(json.dumps(event))


def test_largest_object_costs_little_cpu() -> None:
    """A key is compared in the event loop, so an object at both limits of the contract must cost little."""
    members = ",".join(
        f'"{number:040}": [{{"b": 1.5, "a": "{"x" * 10}"}}]' for number in reversed(range(250))
    )
    with little_cpu():
        canonical(f"{{{members}}}")


def test_all_json_objects_are_named() -> None:
    assert set(JSON_OBJECTS) == {path.replace("user.", "user_") for path in OBJECTS}


@each_case("name", Trigger.__struct_fields__)
def test_each_field_is_content_or_opted_out(name: str) -> None:
    changed = msgspec.structs.replace(
        EMAIL, **{name: OTHER_VALUES.get(name, OTHER_JSON if name in JSON_OBJECTS else "other")}
    )
    assert (fingerprint(changed) == fingerprint(EMAIL)) == (name in NOT_CONTENT)
