"""Messages from queries and JSON bodies, without a gateway."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from google.api import httpbody_pb2
from google.protobuf import descriptor_pb2
from google.protobuf.message import Message

from clarion.admin.v1 import project_pb2
from clarion.v1 import delivery_pb2, options_pb2, trigger_pb2
from server.errors import InvalidRequest, Violation
from server.intake.rest_message import RAW_BODY, complete


def from_query(query: str, message: Any = None) -> Any:
    message = message or delivery_pb2.ListTriggersRequest()
    complete(message, b"", query)
    return message


def from_body(body: str, kind: type[Message] = trigger_pb2.BatchTriggerRequest) -> Any:
    sent = httpbody_pb2.HttpBody(data=body.encode()).SerializeToString()
    raw = _varint(RAW_BODY << 3 | 2) + _varint(len(sent)) + sent
    message = kind.FromString(raw)
    complete(message, raw, None)
    assert message.ByteSize() == len(message.SerializeToString())
    return message


def _varint(number: int) -> bytes:
    head = b""
    while number > 127:
        head += bytes([number & 127 | 128])
        number >>= 7
    return head + bytes([number])


def violations(query: str, message: Any = None) -> list[Violation]:
    with pytest.raises(InvalidRequest) as caught:
        from_query(query, message)
    return list(caught.value.violations)


def body_violations(body: str, kind: type[Message] = trigger_pb2.BatchTriggerRequest) -> list[Violation]:
    with pytest.raises(InvalidRequest) as caught:
        from_body(body, kind)
    return list(caught.value.violations)


def test_query_sets_fields_of_all_types() -> None:
    made = from_query(
        "campaign_id=44&external_id=a+b%2Bc&state=dead&page_size=7&accepted_since=2026-01-01T00:00:00%2B01:00"
    )
    assert (made.campaign_id, made.external_id, made.page_size) == ("44", "a b+c", 7)
    assert made.state == delivery_pb2.DELIVERY_STATE_DEAD
    assert made.accepted_since.ToDatetime() == dt.datetime(2025, 12, 31, 23)  # noqa: DTZ001


def test_repeated_fields_may_be_repeated() -> None:
    made = from_query("trigger_ids=a&trigger_ids=b", delivery_pb2.WatchTriggersRequest())
    assert list(made.trigger_ids) == ["a", "b"]


@pytest.mark.parametrize(
    ("query", "field", "reason"),
    [
        ("page_size=1.0", "page_size", "WRONG_TYPE"),
        ("page_size=", "page_size", "WRONG_TYPE"),
        ("page_size", "page_size", "WRONG_TYPE"),
        ("page_size=%2B1", "page_size", "WRONG_TYPE"),
        ("page_size=2147483648", "page_size", "WRONG_TYPE"),
        ("page_size=" + "9" * 9000, "page_size", "WRONG_TYPE"),
        ("page_size=%D9%A4", "page_size", "WRONG_TYPE"),
        ("state=", "state", "UNKNOWN_VALUE"),
        ("state=DEAD", "state", "UNKNOWN_VALUE"),
        ("state=5", "state", "UNKNOWN_VALUE"),
        ("accepted_since=", "accepted_since", "INVALID_FORMAT"),
        ("accepted_since=2026-02-31T00:00:00Z", "accepted_since", "INVALID_FORMAT"),
        ("accepted_since.seconds=1", "accepted_since.seconds", "UNKNOWN_FIELD"),
        ("external_id=%ff", "external_id", "INVALID_FORMAT"),
        ("external_id=a&external_id=a", "external_id", "INVALID_FORMAT"),
        ("externalId=a", "externalId", "UNKNOWN_FIELD"),
        ("=a", "", "UNKNOWN_FIELD"),
        ("%ff=a", "query", "INVALID_FORMAT"),
    ],
)
def test_wrong_query_is_named(query: str, field: str, reason: str) -> None:
    [violation] = violations(query)
    assert (violation.field, violation.reason) == (field, reason)


def test_query_cannot_replace_what_the_path_states() -> None:
    request = delivery_pb2.GetTriggerRequest(trigger_id="a")
    assert [one.field for one in violations("trigger_id=b&x=1", request)] == ["trigger_id", "x"]


def test_nested_messages_are_read() -> None:
    made = from_body('{"triggers": [{"email": {"campaign_id": "44", "user": {"email": "a@b.c"}}}, {}]}')
    assert [one.WhichOneof("trigger") for one in made.triggers] == ["email", None]
    assert (made.triggers[0].email.campaign_id, made.triggers[0].email.user.email) == (44, "a@b.c")


@pytest.mark.parametrize(
    ("body", "field", "reason"),
    [
        ('{"triggers": {}}', "triggers", "WRONG_TYPE"),
        ('{"triggers": [5]}', "triggers[0]", "WRONG_TYPE"),
        ('{"triggers": [null]}', "triggers[0]", "WRONG_TYPE"),
        ('{"triggers": [{}, {"email": []}]}', "triggers[1].email", "WRONG_TYPE"),
        ('{"triggers": [{"email": {"user": {"x": 1}}}]}', "triggers[0].email.user.x", "UNKNOWN_FIELD"),
        (
            '{"triggers": [{"email": {"campaign_id": 9223372036854775808}}]}',
            "triggers[0].email.campaign_id",
            "WRONG_TYPE",
        ),
        ('{"triggers": [{"email": {}, "text": {}}]}', "triggers[0].text", "INVALID_FORMAT"),
        ('{"triggers": [{"email": {"send_at": "9999"}}]}', "triggers[0].email.send_at", "INVALID_FORMAT"),
    ],
)
def test_wrong_nested_value_is_named(body: str, field: str, reason: str) -> None:
    [violation] = body_violations(body)
    assert (violation.field, violation.reason) == (field, reason)


def test_numbers_booleans_and_bytes_are_read() -> None:
    """Option messages of protobuf have fields of these types."""
    kind = descriptor_pb2.UninterpretedOption
    made = from_body(
        '{"double_value": 1.5, "string_value": "aGk=", "positive_int_value": "18446744073709551615"}', kind
    )
    assert (made.double_value, made.string_value, made.positive_int_value) == (1.5, b"hi", 2**64 - 1)
    assert from_body('{"name": [{"name_part": "a", "is_extension": true}]}', kind).name[0].is_extension
    wrong = """{"double_value": "x", "string_value": "!", "positive_int_value": -1,
        "name": [{"name_part": "a", "is_extension": "yes"}]}"""
    assert [one.field for one in body_violations(wrong, kind)] == [
        "double_value",
        "string_value",
        "positive_int_value",
        "name[0].is_extension",
    ]


def test_maps_are_read() -> None:
    kind = options_pb2.ErrorExample
    assert dict(from_body('{"metadata": {"a": "b"}}', kind).metadata) == {"a": "b"}
    assert [one.field for one in body_violations('{"metadata": {"a": 5}}', kind)] == ["metadata.a"]
    assert [one.field for one in body_violations('{"metadata": []}', kind)] == ["metadata"]


def test_other_unknown_fields_are_no_body() -> None:
    number = _varint(RAW_BODY << 3) + b"\x05"  # an integer
    raw = number + _varint(1000 << 3 | 2) + b"\x05" + _varint(RAW_BODY << 3 | 2)
    message: Any = delivery_pb2.ListTriggersRequest.FromString(raw)
    complete(message, raw, None)
    assert not message.ListFields()


@pytest.mark.parametrize(
    ("mask", "paths"),
    [("burst", ["burst"]), ("requests_per_second,burst", ["requests_per_second", "burst"]), ("", [])],
)
def test_field_mask_has_the_names_of_the_contract(mask: str, paths: list[str]) -> None:
    made = from_body(f'{{"update_mask": "{mask}"}}', project_pb2.UpdateProjectRequest)
    assert list(made.update_mask.paths) == paths


@pytest.mark.parametrize("mask", ["a b", ",", "burst,", "Burst-"])
def test_wrong_field_mask_is_named(mask: str) -> None:
    [violation] = body_violations(f'{{"update_mask": "{mask}"}}', project_pb2.UpdateProjectRequest)
    assert (violation.field, violation.reason) == ("update_mask", "INVALID_FORMAT")
