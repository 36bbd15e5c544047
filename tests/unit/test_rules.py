"""The rules of typed requests: those in the protos, and those that only code can say."""

from __future__ import annotations

import pytest

from clarion.v1 import trigger_pb2 as pb
from server.intake.rules import check
from tests.kit.cases import each_case
from tests.kit.cpu import little_cpu


def problems(**user: str) -> list[tuple[str, str]]:
    """Check an email request whose user has these members in addition to the required ones."""
    members = {"external_id": "a", "email": "a@b.co", **user}
    request = pb.TriggerEmailRequest(campaign_id=1, user=pb.EmailUser(**members))
    return [(violation.field, violation.reason) for violation in check(request)]


def test_everything_required_is_named_at_once() -> None:
    found = [(violation.field, violation.reason) for violation in check(pb.TriggerEmailRequest())]
    assert sorted(found) == [("campaign_id", "REQUIRED"), ("user", "REQUIRED")]
    assert problems(external_id="", email="") == [
        ("user.external_id", "REQUIRED"),
        ("user.email", "REQUIRED"),
    ]
    text = check(pb.TriggerTextRequest(campaign_id=1, user=pb.TextUser()))
    assert [violation.field for violation in text] == ["user.external_id", "user.phone"]
    push = check(pb.TriggerPushRequest(campaign_id=1, user=pb.PushUser()))
    assert [violation.field for violation in push] == ["user.external_id", "user.device_token"]


def test_a_negative_campaign_id_is_out_of_range() -> None:
    request = pb.TriggerEmailRequest(campaign_id=-1, user=pb.EmailUser(external_id="a", email="a@b.co"))
    assert [(v.field, v.reason) for v in check(request)] == [("campaign_id", "OUT_OF_RANGE")]


@pytest.mark.parametrize("external_id", ["a", "é😀", "a b", "x" * 255, "😀" * 255, "\u00a0"])
def test_an_external_id_has_up_to_255_characters(external_id: str) -> None:
    assert problems(external_id=external_id) == []


@pytest.mark.parametrize(
    ("external_id", "reason"),
    [
        ("x" * 256, "OUT_OF_RANGE"),
        *((f"a{char}b", "INVALID_FORMAT") for char in "\n\0\x1f\x7f\x80\x9f\u2028\u2029"),
    ],
)
def test_external_id_length_and_characters(external_id: str, reason: str) -> None:
    assert problems(external_id=external_id) == [("user.external_id", reason)]


@pytest.mark.parametrize(
    "address",
    [
        "test@test.com",
        "first.last+tag_-x@sub.example.co.uk",
        "o'hara@example.com",
        "joerg@münchen.de",
        "yonghu@例子.中国",
        "a@xn--mnchen-3ya.de",
        "a" * 64 + "@" + "b" * 63 + ".com",
        "A@B.CO",
    ],
)
def test_these_are_email_addresses(address: str) -> None:
    assert problems(email=address) == []


@each_case(
    "address",
    [
        "plain",
        "jörg@münchen.de",
        "a" * 65 + "@b.co",
        "@b.co",
        "a@",
        "a@b",
        "a@b..co",
        "a@.b.co",
        ".a@b.co",
        "a.@b.co",
        "a..b@c.co",
        "a@-b.co",
        "a@b-.co",
        "a@b.co.",
        "a@b.c0",
        "a b@c.co",
        '"a b"@c.co',
        "A <a@b.co>",
        "a@b.co\n",
        "a@b.co\r\nbcc: x@y.co",
        "a@[127.0.0.1]",
        "a@127.0.0.1",
        "a@b.localhost",
        "a@b.Invalid",
        "a@ab--c.com",
        "a@xn--zzzzzz.com",
        "a@" + "b" * 64 + ".co",
        "a\u202e@b.co",
        "a@b.co,c@d.co",
    ],
)
def test_these_are_no_email_addresses(address: str) -> None:
    assert problems(email=address) == [("user.email", "INVALID_FORMAT")]


def test_an_email_address_has_up_to_254_bytes() -> None:
    longest = "a@" + ".".join(["b" * 62] * 4)[:249] + ".co"
    assert len(longest) == 254
    assert problems(email=longest) == []
    assert problems(email="a" + longest) == [("user.email", "OUT_OF_RANGE")]


@pytest.mark.parametrize(
    "address", ["@" * 60_000, "a" * 60_000, "a." * 30_000 + "@b.co", "a@" + "b." * 30_000, "ü" * 30_000]
)
def test_a_hostile_address_takes_no_time(address: str) -> None:
    with little_cpu():
        assert ("user.email", "OUT_OF_RANGE") in problems(email=address)


def of_phone(phone: str) -> list[tuple[str, str]]:
    request = pb.TriggerTextRequest(campaign_id=1, user=pb.TextUser(external_id="a", phone=phone))
    return [(violation.field, violation.reason) for violation in check(request)]


@pytest.mark.parametrize(
    "phone", ["+12345678900", "+12025550123", "+4930123456", "+390612345678", "+80012345678", "+6834000"]
)
def test_a_phone_number_is_one_that_its_country_can_have(phone: str) -> None:
    assert of_phone(phone) == []


@each_case(
    "phone",
    [
        "12345678900",
        "+",
        "+012345678",
        "+123456",
        "+1234567890123456",
        "+1 234 567 8900",
        "+12345678900\n",
        "+1\uff12345678",
        "+1234567",
        "+12345678",
        "+123456789012",
        "+99912345678",
        "+4401632960961",
    ],
)
def test_any_other_phone_number_is_refused(phone: str) -> None:
    assert of_phone(phone) == [("user.phone", "INVALID_FORMAT")]


@each_case(
    ("token", "reasons"),
    [
        ("DEVICE_TOKEN", []),
        ("0123456789abcdef" * 4, []),
        ("aA0_:-zZ", []),
        ("x" * 4096, []),
        ("x" * 4097, ["OUT_OF_RANGE"]),
        ("x" * 7, ["OUT_OF_RANGE"]),
        (" " * 4097, ["OUT_OF_RANGE"]),
        *((f"abcdefgh{odd}", ["INVALID_FORMAT"]) for odd in (" ", "\n", "é", "\x7f", "\t", "/", ".", '"')),
    ],
)
def test_device_token_characters(token: str, reasons: list[str]) -> None:
    request = pb.TriggerPushRequest(campaign_id=1, user=pb.PushUser(external_id="a", device_token=token))
    assert [v.reason for v in check(request) if v.field == "user.device_token"] == reasons


@pytest.mark.parametrize("locale", ["", "en", "pt-BR", "pt_BR", "zh_hant_tw", "es-419", "sl-rozaj-biske"])
def test_a_locale_is_a_language_tag(locale: str) -> None:
    assert problems(locale=locale) == []


@each_case(
    "locale",
    [
        "e",
        "en-",
        "-en",
        "en--US",
        "en US",
        "en\n",
        "é",
        "12",
        "en-" + "a" * 9,
        "english",
        "en-US-Latn",
        "en-u",
    ],
)
def test_any_other_locale_is_refused(locale: str) -> None:
    assert problems(locale=locale) == [("user.locale", "INVALID_FORMAT")]


@pytest.mark.parametrize("zone", ["", "UTC", "America/Chicago", "Asia/Calcutta", "US/Central", "Etc/GMT+12"])
def test_a_timezone_is_an_iana_name(zone: str) -> None:
    assert problems(timezone=zone) == []


@pytest.mark.parametrize(
    "zone",
    [
        "america/chicago",
        "Mars/Olympus",
        "UTC+2",
        "localtime",
        "posixrules",
        "Factory",
        "../etc/passwd",
        " UTC",
    ],
)
def test_any_other_timezone_is_unknown(zone: str) -> None:
    assert problems(timezone=zone) == [("user.timezone", "UNKNOWN_VALUE")]


def test_a_timezone_that_is_too_long_is_named_once() -> None:
    assert problems(timezone="x" * 65) == [("user.timezone", "OUT_OF_RANGE")]


@each_case("field", ["event", "user.data"])
@each_case(
    ("text", "reason"),
    [
        ("", None),
        ("{}", None),
        ('{"n": 12345678901234567890, "d": {"e": [1.5, null]}}', None),
        ('{"a": "' + "x" * 59_991 + '"}', None),
        ('{"a": "' + "x" * 59_992 + '"}', "OUT_OF_RANGE"),
        ("null", "WRONG_TYPE"),
        ("[]", "WRONG_TYPE"),
        ("{", "MALFORMED_JSON"),
        ('{"a": 1,}', "MALFORMED_JSON"),
        ('{"a": NaN}', "MALFORMED_JSON"),
        ('{"a": 1, "a": 2}', "MALFORMED_JSON"),
        (r'{"a": "\u0000"}', "MALFORMED_JSON"),
        ('{"a": ' + "[" * 31 + "]" * 31 + "}", None),
        ('{"a": ' + "[" * 32 + "]" * 32 + "}", "OUT_OF_RANGE"),
        ('{"a": ' + "[" * 20_000 + "]" * 20_000 + "}", "OUT_OF_RANGE"),
        ("[" * 100 + "]" * 100, "WRONG_TYPE"),
        ("[" * 20_000 + "]" * 20_000, "OUT_OF_RANGE"),
        ("[" * 100, "MALFORMED_JSON"),
    ],
)
def test_objects_that_travel_as_text_are_checked(field: str, text: str, reason: str | None) -> None:
    user = pb.EmailUser(external_id="a", email="a@b.co")
    request = pb.TriggerEmailRequest(campaign_id=1, user=user)
    if field == "event":
        request.event = text
    else:
        request.user.data = text
    assert [(v.field, v.reason) for v in check(request)] == ([(field, reason)] if reason else [])


def test_all_violations_are_in_one_response() -> None:
    request = pb.TriggerEmailRequest(
        campaign_id=-5,
        user=pb.EmailUser(external_id="\n", email="x", timezone="x", locale="?", data="1"),
        event="[",
    )
    fields = {violation.field for violation in check(request)}
    members = {f"user.{name}" for name in ("external_id", "email", "timezone", "locale", "data")}
    assert fields == {"campaign_id", "event", *members}
