"""Violations of typed requests: their descriptions, and that REST callers get the same."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from clarion.v1 import trigger_pb2 as pb
from server.channels import CHANNELS
from server.domain.campaign import Channel
from server.errors import Violation
from server.intake.rules import check
from server.intake.strict_body import parse_body, to_request
from server.intake.typed import TriggerRequest
from tests.kit.cases import each_case


def one(field: str, value: object) -> Violation:
    """Check a request that is right but for one member, and return the only violation."""
    users: dict[str, TriggerRequest] = {
        "phone": pb.TriggerTextRequest(user=pb.TextUser(external_id="a", phone="+12345678900")),
        "device_token": pb.TriggerPushRequest(user=pb.PushUser(external_id="a", device_token="DEVICE_TOKEN")),
    }
    email = pb.TriggerEmailRequest(user=pb.EmailUser(external_id="a", email="a@b.co"))
    request = users.get(field, email)
    request.campaign_id = 1
    setattr(request if field in {"event", "campaign_id"} else request.user, field, value)
    [violation] = check(request)
    return violation


_TOKENS = "only letters, digits, _ : and - are allowed"


@each_case(
    ("field", "value", "description"),
    [
        ("campaign_id", 0, "is required, but missing or empty"),
        ("campaign_id", -5, "is -5, must be greater than 0"),
        ("external_id", "", "is required, but missing or empty"),
        ("external_id", "x" * 256, "has 256 characters, at most 255 are allowed"),
        ("external_id", "ab\n", "contains a line break at position 3, control characters are not allowed"),
        (
            "external_id",
            "\x9f",
            "contains the character U+009F at position 1, control characters are not allowed",
        ),
        ("email", "a@" + "b" * 250 + ".co", "has 255 bytes, at most 254 are allowed"),
        ("email", "a.b.co", "is not an email address: it has no @"),
        ("phone", "123", "is not a phone number in E.164 form, such as +12345678900: does not start with +"),
        ("phone", "+99912345", "is not a possible phone number: it does not start with a country code"),
        ("device_token", "ab cdefgh", f"contains a space at position 3; {_TOKENS}"),
        ("device_token", "abcdefgh!", f'contains a "!" at position 9; {_TOKENS}'),
        ("device_token", "abc", "has 3 characters, at least 8 are required"),
        ("timezone", "Mars/Base", 'is not an IANA time zone, found "Mars/Base"; such as America/Chicago'),
        ("timezone", "utc", 'is not an IANA time zone, found "utc"; did you mean UTC?'),
        ("timezone", "x" * 65, "has 65 characters, at most 64 are allowed"),
        ("locale", "e!", 'is not a BCP 47 language tag, found "e!"; such as en or pt-BR'),
        ("locale", "english", 'is not a BCP 47 language tag, found "english"; such as en or pt-BR'),
        ("event", "{" + " " * 60_000, "has 60001 bytes, at most 60000 are allowed"),
        ("event", '{"a":' * 32 + "{}" + "}" * 32, "is nested deeper than 32 levels, which is the limit"),
        ("event", "[0]", "must be an object, found an array"),
        ("event", "[]", "must be an object, found an empty array; in PHP, an empty object is (object) []"),
        ("data", "[1", "is not valid JSON: it ends too early: expecting ',' delimiter at line 1, column 3"),
        ("data", "[1 2]", "is not valid JSON: expecting ',' delimiter at line 1, column 4"),
    ],
)
def test_a_description_says_what_was_found_and_what_is_expected(
    field: str, value: object, description: str
) -> None:
    assert one(field, value).description == description


def test_quoted_values_are_cut_and_escaped() -> None:
    assert one("timezone", "\x1b[31m\u202e").description.startswith(
        r'is not an IANA time zone, found "\u001b[31m\u202e"'
    )
    assert one("timezone", "é" * 60).description.endswith(f'found "{"é" * 18}…"; such as America/Chicago')


_WORDS = st.text(max_size=70) | st.text("+0123456789@.-_/ a\n\x00é", max_size=30)
_TEXTS = {
    "external_id": _WORDS,
    "email": _WORDS | st.builds("{}@{}".format, _WORDS, _WORDS) | st.emails(),
    "phone": _WORDS | st.from_regex(r"\+[1-9][0-9]{6,14}", fullmatch=True),
    "device_token": _WORDS | st.text("abc:_-", min_size=8),
    "timezone": _WORDS | st.sampled_from(["utc", "US/Central", "europe/berlin"]),
    "locale": _WORDS | st.from_regex("[a-zA-Z]{2,3}([-_][a-zA-Z0-9]{1,8}){0,4}", fullmatch=True),
}
_USERS: dict[Channel, tuple[Any, Any]] = {
    channel: (getattr(pb, f"Trigger{channel.title()}Request"), getattr(pb, f"{channel.title()}User"))
    for channel in Channel
}
_OBJECTS = st.sampled_from(["{}", '{"a": ' + "[" * 31 + "]" * 31 + "}"]) | st.integers(30, 40).map(
    lambda levels: '{"a":' * levels + "1" + "}" * levels
)


@st.composite
def requests(draw: st.DrawFn) -> tuple[Channel, dict[str, str], str, str]:
    """Generate a channel, the texts of `user`, and `user.data` and `event` as JSON."""
    channel = draw(st.sampled_from(Channel))
    names = ("external_id", CHANNELS[channel].address.field, "timezone", "locale")
    members = {name: draw(_TEXTS.get(name, _WORDS)) for name in names}
    return channel, members, draw(_OBJECTS), draw(_OBJECTS)


@given(requests())
def test_rest_and_typed_calls_get_the_same_violations(
    asked: tuple[Channel, dict[str, str], str, str],
) -> None:
    channel, members, data, event = asked
    request, user = _USERS[channel]
    typed = request(campaign_id=1, user=user(**members, data=data), event=event)
    texts = json.dumps(members)[1:-1]
    body = parse_body(f'{{"user": {{{texts}, "data": {data}}}, "event": {event}}}'.encode())
    if body.violations:  # characters that JSON's escapes cannot carry
        assert "\x00" in "".join(members.values())
        return
    assert check(to_request(1, channel, body)) == check(typed)


@given(requests())
def test_descriptions_are_short_and_repeat_no_address(
    asked: tuple[Channel, dict[str, str], str, str],
) -> None:
    channel, members, data, event = asked
    request, user = _USERS[channel]
    address = members[CHANNELS[channel].address.field]
    for violation in check(request(campaign_id=1, user=user(**members, data=data), event=event)):
        assert len(violation.description.encode()) <= 120, violation
        assert violation.description[0].islower()
        assert "\n" not in violation.description
        if violation.field == f"user.{CHANNELS[channel].address.field}":
            text = violation.description.replace("+12345678900", "")  # the example
            assert not [part for part in (address, *address.split("@")) if len(part) > 4 and part in text]
