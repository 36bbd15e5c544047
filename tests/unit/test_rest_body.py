"""The strict decoder of REST bodies: every violation at once, and valid values as the caller wrote them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion.v1 import trigger_pb2 as pb
from server.channels import CHANNELS
from server.domain.campaign import Channel
from server.errors import Violation
from server.intake.contract import MAX_CAMPAIGN_ID
from server.intake.rules import check
from server.intake.strict_body import StrictBody, parse_body, parse_campaign_id, to_request
from tests.kit.cases import each_case
from tests.kit.documented_bodies import EMAIL, PUSH, TEXT

USER = '"user": {"external_id": "a", "email": "a@b.co"}'


def found(body: StrictBody) -> list[tuple[str, str]]:
    return [(violation.field, violation.reason) for violation in body.violations]


@pytest.mark.parametrize(
    ("text", "channel", "address"),
    [
        (EMAIL, Channel.EMAIL, "test@test.com"),
        (TEXT, Channel.TEXT, "+12345678900"),
        (PUSH, Channel.PUSH, "DEVICE_TOKEN"),
    ],
)
def test_the_documented_examples_are_valid(text: str, channel: Channel, address: str) -> None:
    body = parse_body(text.encode())
    assert body.violations == ()
    assert body.given_channel is channel
    assert body.fields["event"] == '{\n        "random_field": "value"\n    }'
    request = to_request(44, channel, body)
    assert check(request) == []
    assert request.campaign_id == 44
    assert getattr(request.user, CHANNELS[channel].address.field) == address
    assert (request.user.timezone, request.user.locale) == ("America/Chicago", "en")


def test_every_violation_is_named() -> None:
    body = parse_body(
        b'{"user": {"external_id": 7, "email": 8, "phone": ["x"], "timezone": true, "locale": {},'
        b' "data": "d", "name": "n"}, "event": 1.5, "extra": {}}'
    )
    assert sorted(found(body)) == [
        ("event", "WRONG_TYPE"),
        ("extra", "UNKNOWN_FIELD"),
        ("user.data", "WRONG_TYPE"),
        ("user.email", "WRONG_TYPE"),
        ("user.external_id", "WRONG_TYPE"),
        ("user.locale", "WRONG_TYPE"),
        ("user.name", "UNKNOWN_FIELD"),
        ("user.phone", "WRONG_TYPE"),
        ("user.timezone", "WRONG_TYPE"),
    ]


@each_case(
    ("data", "field", "reason", "description"),
    [
        (b"", "", "MALFORMED_JSON", "expecting value at line 1, column 1"),
        (b"\xef\xbb\xbf{}", "", "MALFORMED_JSON", "starts with a byte order mark (U+FEFF); send it without"),
        ("{}".encode("utf-16"), "", "MALFORMED_JSON", "is UTF-16 or UTF-32; send it in UTF-8"),
        ("{}".encode("utf-16-be"), "", "MALFORMED_JSON", "is UTF-16 or UTF-32; send it in UTF-8"),
        ("{}".encode("utf-16-le"), "", "MALFORMED_JSON", "is UTF-16 or UTF-32; send it in UTF-8"),
        ("{}".encode("utf-32-be"), "", "MALFORMED_JSON", "is UTF-16 or UTF-32; send it in UTF-8"),
        ("{}".encode("utf-32-le"), "", "MALFORMED_JSON", "is UTF-16 or UTF-32; send it in UTF-8"),
        (b"\x1f\x8b\x08", "", "MALFORMED_JSON", "is compressed with gzip; send it uncompressed"),
        (b'{"user": "\xff"}', "", "MALFORMED_JSON", "not UTF-8: byte 10 is not part"),
        (b"null", "", "WRONG_TYPE", "must be a JSON object, found null"),
        (b"[1]", "", "WRONG_TYPE", "must be a JSON object, found an array"),
        (b"[]", "", "WRONG_TYPE", "must be a JSON object, found an empty array; in PHP"),
        (b"true", "", "WRONG_TYPE", "must be a JSON object, found a boolean"),
        (b'"{}"', "", "WRONG_TYPE", "must be a JSON object, found a string"),
        (b"{}", "user", "REQUIRED", "is required, but missing or empty"),
        (b'{"user": null}', "user", "REQUIRED", "is required, but missing or empty"),
        (b'{"user": false}', "user", "WRONG_TYPE", "must be an object, found a boolean"),
        (b'{"user": []}', "user", "WRONG_TYPE", "must be an object, found an empty array; in PHP"),
        (
            b'{"user": {"data": []}}',
            "user.data",
            "WRONG_TYPE",
            "must be an object, found an empty array; in PHP",
        ),
        (b'{"user": {"data": [[]]}}', "user.data", "WRONG_TYPE", "must be an object, found an array"),
        (b'{"user": {}, "event": "{}"}', "event", "WRONG_TYPE", "must be an object, found a string"),
        (b'{"user": {}, "Event": {}}', "Event", "UNKNOWN_FIELD", "did you mean event?"),
        (b'{"user": {}, "events": {}}', "events", "UNKNOWN_FIELD", "did you mean event?"),
        (b'{"user": {}, "request_id": "k"}', "request_id", "UNKNOWN_FIELD", "as the header Idempotency-Key"),
        (b'{"user": {}, "email": ""}', "email", "UNKNOWN_FIELD", "did you mean user.email?"),
        (
            b'{"user": {"externalId": ""}}',
            "user.externalId",
            "UNKNOWN_FIELD",
            "did you mean user.external_id?",
        ),
        (b'{"user": {}, "x": {}}', "x", "UNKNOWN_FIELD", "is not a field of this call"),
        (b'{"user": {"": 1}}', "user.", "UNKNOWN_FIELD", "put custom fields under user.data"),
        (b'{"user": {},, }', "", "MALFORMED_JSON", "at line 1, column 13"),
        (b'{"user": {,}}', "", "MALFORMED_JSON", "at line 1, column 11"),
    ],
)
def test_a_violation_names_the_field(data: bytes, field: str, reason: str, description: str) -> None:
    body = parse_body(data)
    assert found(body) == [(field, reason)]
    assert description in body.violations[0].description


@pytest.mark.parametrize(
    "event",
    [
        '{"order": 9007199254740993, "id": 1234567890123456789}',
        '{  "a" :\t1.10 ,\n"b":1E+2, "c": -0.0 }',
        '{"text": "\\u00e9 \\/ é 😀", "n": 123456789012345678901234567890}',
        "{}",
        '{"d": ' + "[" * 31 + "]" * 31 + "}",
    ],
)
def test_an_event_is_kept_byte_for_byte(event: str) -> None:
    for text in (f'{{{USER}, "event": {event}}}', f'{{"event":{event},{USER}}}'):
        body = parse_body(text.encode())
        assert body.violations == ()
        assert body.fields["event"] == event
        assert check(to_request(1, Channel.EMAIL, body)) == []


def test_user_data_is_kept_byte_for_byte() -> None:
    body = parse_body(b'{"user": {"data": { "n":  12345678901234567890 }, "external_id": "a"}}')
    assert body.user["data"] == '{ "n":  12345678901234567890 }'
    assert body.fields == {}


def test_escaped_names_are_the_same_names() -> None:
    body = parse_body(
        rb'{"us\u0065r": {"d\u0061ta": {"a": 1}, "\u0065mail": "a@b.co"}, "\u0065vent": {"b": 2}}'
    )
    assert (body.violations, body.fields) == ((), {"event": '{"b": 2}'})
    assert body.user == {"email": "a@b.co", "data": '{"a": 1}'}


@each_case("levels", [33, 34, 35, 36, 100])
@each_case("opening", ["[", '{"d":'])
def test_too_deep_values_are_named_with_other_violations(levels: int, opening: str) -> None:
    inner = opening * (levels - 1) + "0" + ("]" if opening == "[" else "}") * (levels - 1)
    deep = f'{{"d": {inner}}}'
    text = f'{{"event": {deep}, "x": {deep}, "user": {{"email": "x", "data": {deep}}}}}'
    body = parse_body(text.encode())
    assert found(body) == [("x", "UNKNOWN_FIELD")]
    body = parse_body(text.replace(f'"x": {deep},', "").encode())
    assert body.violations == ()
    assert sorted((v.field, v.reason) for v in check(to_request(1, Channel.EMAIL, body))) == [
        ("event", "OUT_OF_RANGE"),
        ("user.data", "OUT_OF_RANGE"),
        ("user.email", "INVALID_FORMAT"),
        ("user.external_id", "REQUIRED"),
    ]


def test_unclosed_brackets_are_malformed() -> None:
    for levels in (1, 31, 33, 34, 35, 36, 100):
        assert found(parse_body(b'{"event": ' + b"[" * levels)) == [("", "MALFORMED_JSON")]


@pytest.mark.parametrize(
    "event",
    ["[" * 29_000, "[" * 29_000 + "]" * 29_000, '{"a":' * 9_900, "[" + ("[" * 40 + "]" * 40 + ",") * 700],
    ids=["unclosed", "closed", "objects", "groups"],
)
def test_far_too_deep_body_is_not_read_further(event: str) -> None:
    """Finding out what else is wrong with it would take up to 30 ms."""
    text = f'{{"event": {event}, "user": {{}}}}'.encode()
    assert found(parse_body(text)) == [("event", "OUT_OF_RANGE")]
    assert parse_body(text).violations[0].description == "is nested deeper than 32 levels, which is the limit"


@each_case(
    "body, field",
    [
        ('{"user": {"external_id": "]", "data": DEEP}}', "user.data"),
        ('{"user": {"data": {}}, "event": DEEP}', "event"),
        ('{"user": {"data": {}}, "event": {"a": DEEP}}', "event"),
        ('{"event": {}, "other": DEEP}', ""),
        ('{"user": DEEP}', ""),
        ("DEEP", ""),
    ],
)
def test_member_that_is_far_too_deep_is_named(body: str, field: str) -> None:
    deep = "[" * 500 + "]" * 500
    assert found(parse_body(body.replace("DEEP", deep).encode())) == [(field, "OUT_OF_RANGE")]


def test_the_given_channel_is_that_of_the_first_address() -> None:
    assert parse_body(b'{"user": {}}').given_channel is None
    assert parse_body(b'{"user": {"email": "", "phone": "+1"}}').given_channel is Channel.TEXT


def test_addresses_of_other_channels_are_left_out() -> None:
    body = parse_body(b'{"user": {"external_id": "a", "email": "a@b.co", "device_token": "t"}}')
    assert to_request(1, Channel.PUSH, body) == pb.TriggerPushRequest(
        campaign_id=1, user=pb.PushUser(external_id="a", device_token="t")
    )


@pytest.mark.parametrize("text", ["1", "44", str(MAX_CAMPAIGN_ID)])
def test_a_campaign_id_is_a_positive_integer(text: str) -> None:
    assert parse_campaign_id(text) == int(text)


@each_case(
    "text",
    ["", "0", "-1", "+1", "01", "1.0", "1e3", "abc", " 1", "1\n", "٣", str(MAX_CAMPAIGN_ID + 1), "9" * 5000],
)
def test_an_invalid_campaign_id_is_a_violation(text: str) -> None:
    wrong = parse_campaign_id(text)
    assert isinstance(wrong, Violation)
    assert (wrong.field, wrong.reason) == ("campaign_id", "WRONG_TYPE")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just("a@b.co"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)
USER_MEMBERS = ["external_id", "email", "phone", "device_token", "timezone", "locale", "data", "x"]
BODIES = st.fixed_dictionaries(
    {},
    optional={
        "user": st.dictionaries(st.sampled_from(USER_MEMBERS), JSON) | JSON,
        "event": st.dictionaries(st.text(max_size=5), JSON, max_size=3) | JSON,
        "other": JSON,
    },
)


@given(st.binary() | st.text().map(str.encode))
def test_any_bytes_give_violations_or_a_request(data: bytes) -> None:
    _gives_violations_or_a_request(data)


@given(BODIES | JSON)
def test_any_json_gives_violations_or_a_request(value: object) -> None:
    _gives_violations_or_a_request(json.dumps(value).encode())


@given(BODIES, st.data())
def test_a_damaged_body_gives_violations_or_a_request(value: object, data: st.DataObject) -> None:
    raw = bytearray(json.dumps(value, ensure_ascii=False).encode())
    raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    _gives_violations_or_a_request(bytes(raw))


def _gives_violations_or_a_request(data: bytes) -> None:
    body = parse_body(data)
    for channel in Channel:
        check(to_request(1, channel, body))
    if not body.violations:
        event = body.fields.get("event", "")
        assert event in data.decode() or b"," in data
        assert not event or isinstance(json.loads(event), dict)
