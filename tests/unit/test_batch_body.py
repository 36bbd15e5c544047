"""The body of a REST batch: what is wrong with it as a whole, and where each item ends."""

from __future__ import annotations

import asyncio
import json
import threading

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.errors import InvalidRequest, Violation
from server.intake import batch_body
from server.intake.batch_body import split
from server.intake.strict_body import parse_item
from tests.kit.cases import each_case

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def items(data: bytes | str) -> list[bytes]:
    body = data.encode() if isinstance(data, str) else data
    return [bytes(item) for item in asyncio.run(split(body))]


def violations(data: bytes | str) -> list[tuple[str, str]]:
    with pytest.raises(InvalidRequest) as caught:
        items(data)
    return [(one.field, one.reason) for one in caught.value.violations]


@given(st.lists(JSON.map(json.dumps), max_size=5), st.sampled_from([",", " ,\n\t"]))
def test_items_are_split_as_written(written: list[str], between: str) -> None:
    body = f'{{"triggers": [{between.join(written)}]}}'
    assert items(body) == [item.encode() for item in written]


@each_case(
    ("body", "found"),
    [
        ("", ("", "MALFORMED_JSON")),
        ("x", ("", "MALFORMED_JSON")),
        ("[]", ("", "WRONG_TYPE")),
        ("null", ("", "WRONG_TYPE")),
        ("{}", ("triggers", "REQUIRED")),
        ('{"triggers": null}', ("triggers", "REQUIRED")),
        ('{"triggers": {}}', ("triggers", "WRONG_TYPE")),
        ('{"triggers": "[]"}', ("triggers", "WRONG_TYPE")),
        ('{"triggers": [], "trigers": []}', ("trigers", "UNKNOWN_FIELD")),
        ('{"campaign_id": 44, "triggers": []}', ("campaign_id", "UNKNOWN_FIELD")),
        ('{"triggers": [], "triggers": []}', ("", "MALFORMED_JSON")),
        ('{"triggers": [{}], "\\u0074riggers": [{}]}', ("", "MALFORMED_JSON")),
        ('{"triggers": [{}]} {}', ("", "MALFORMED_JSON")),
        ('{"triggers": [{}}', ("", "MALFORMED_JSON")),
        ('{"triggers": [{"a": NaN}]}', ("", "MALFORMED_JSON")),
        ('{"triggers": [{"a" 1}]}', ("", "MALFORMED_JSON")),
        ('{"triggers": [{}{}]}', ("", "MALFORMED_JSON")),
        ('{"triggers": [{"a": "b}]}', ("", "MALFORMED_JSON")),
        (b'\xef\xbb\xbf{"triggers": []}', ("", "MALFORMED_JSON")),
        (b'{"triggers": ["\xff"], "x": 1}', ("", "MALFORMED_JSON")),
        (b'{"triggers": ["\xff"]}', ("", "MALFORMED_JSON")),
        ('{"triggers": ' + "[" * 100_000, ("", "MALFORMED_JSON")),
    ],
)
def test_an_invalid_batch_is_refused_as_a_whole(body: str | bytes, found: tuple[str, str]) -> None:
    assert violations(body) == [found]


def test_every_violation_of_a_batch_is_named() -> None:
    assert violations('{"a": 1, "triggers": 5, "b": 1}') == [
        ("a", "UNKNOWN_FIELD"), ("b", "UNKNOWN_FIELD"), ("triggers", "WRONG_TYPE"),
    ]  # fmt: skip


def test_a_syntax_error_has_its_position_in_the_body() -> None:
    with pytest.raises(InvalidRequest, match="line 2, column 7"):
        items('{"triggers": [{},\n{"a": b}]}')


@pytest.mark.parametrize(
    "body",
    [
        '{"triggers": [{"a": 1},],}',
        ' \r\n{ "triggers" : [ {"a": 1} ] } \t',
        '{"\\u0074riggers": [{"a": 1}]}',
        '{"triggers":[{"a":1}]}',
    ],
)
def test_spaces_escapes_and_trailing_commas_are_accepted(body: str) -> None:
    assert [json.loads(item) for item in items(body)] == [{"a": 1}]


def test_a_deeply_nested_item_does_not_affect_others() -> None:
    deep = '{"event": ' + "[" * 50_000 + "]" * 50_000 + "}"
    first, second, third = items('{"triggers": [{"a": 1}, ' + deep + ', {"b": 2}]}')
    assert (first, third) == (b'{"a": 1}', b'{"b": 2}')
    assert [(one.field, one.reason) for one in parse_item(second).violations] == [
        ("user", "REQUIRED"), ("event", "WRONG_TYPE"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("44", None),
        ('"44"', None),
        ('"044"', "WRONG_TYPE"),
        ('"x"', "WRONG_TYPE"),
        ("44.0", "WRONG_TYPE"),
        ("true", "WRONG_TYPE"),
        ("null", "REQUIRED"),
        ("0", "WRONG_TYPE"),
        ("-1", "WRONG_TYPE"),
        (str(2**63 - 1), None),
        (str(2**63), "WRONG_TYPE"),
    ],
)
def test_the_campaign_of_an_item_is_an_integer(value: str, reason: str | None) -> None:
    found = parse_item(b'{"campaign_id": %s}' % value.encode()).campaign_id
    assert (
        found == int(value.strip('"'))
        if reason is None
        else isinstance(found, Violation) and found.reason == reason
    )


def test_an_item_without_a_campaign_is_invalid() -> None:
    assert parse_item(b'{"user": {}}').campaign_id == Violation(
        "campaign_id", "is required, but missing or empty", "REQUIRED"
    )


def test_the_key_of_an_item_is_text() -> None:
    assert parse_item(b'{"request_id": "k"}').fields == {"request_id": "k"}
    wrong = parse_item(b'{"request_id": 5}')
    assert ("request_id", "WRONG_TYPE") in [(one.field, one.reason) for one in wrong.violations]
    empty = parse_item(b'{"request_id": ""}')
    assert ("request_id", "INVALID_FORMAT") in [(one.field, one.reason) for one in empty.violations]


def body_of(item: str, end: str) -> bytes:
    """Return 700 kB of an item over and over: too many to find where an error is."""
    return f'{{"triggers":[{item * (700_000 // len(item))}'.encode() + end.encode()


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (body_of("[],", "[]]}"), ("triggers", "OUT_OF_RANGE")),
        (body_of("1,", '1],"x":1}'), ("triggers", "OUT_OF_RANGE")),
        (body_of("[],", "],}"), ("", "MALFORMED_JSON")),
        (body_of("{},", "x]}"), ("", "MALFORMED_JSON")),
    ],
    ids=["lists", "numbers next to another member", "trailing comma", "broken"],
)
async def test_huge_bodies_are_split_in_a_thread(
    body: bytes, found: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = []
    split_any = batch_body._split_any

    def recorded(text: str) -> list[msgspec.Raw]:
        threads.append(threading.current_thread())
        return split_any(text)

    monkeypatch.setattr(batch_body, "_split_any", recorded)
    with pytest.raises(InvalidRequest) as caught:
        await split(body)
    assert [(one.field, one.reason) for one in caught.value.violations] == [found]
    assert len(threads) == 1
    assert threads[0] is not threading.current_thread()
