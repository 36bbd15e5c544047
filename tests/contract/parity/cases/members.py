"""Members of `user` and of the body, by the kinds of wrong that each can be."""

from __future__ import annotations

from collections.abc import Iterator

from .case import Case, accepted, invalid, user
from .twins import CAMPAIGN_OF, EMAIL, PHONE, TOKEN, USERS

__all__ = ["ACCEPTED", "REFUSED"]

EXT, MAIL, TEL, DEVICE = "user.external_id", "user.email", "user.phone", "user.device_token"
ZONE, LOCALE, DATA = "user.timezone", "user.locale", "user.data"
REQUIRED, FORMAT, RANGE, UNKNOWN = "REQUIRED", "INVALID_FORMAT", "OUT_OF_RANGE", "UNKNOWN_VALUE"
UNKNOWN_FIELD = "UNKNOWN_FIELD"

NO_TEXTS: dict[str, object] = {
    "a number": 5,
    "a boolean": True,
    "an array": ["a"],
    "an object": {"a": "b"},
}
NO_OBJECTS: dict[str, object] = {
    "a number": 5,
    "a boolean": False,
    "an array": ["a"],
    "an empty array": [],
    "text": "x",
    "empty text": "",
}
# What could break out of a header, a log line or JSON, were it not encoded on its way.
ODD_NAMES = [
    "\r\nset-cookie: a=b",
    "%0d%0a",
    '"}',
    "\\",
    "\x7f\x1b[31m",
    "ü\u2028\U0001f600",
    "a.b",
    "a b",
    "__proto__",
]
# 64 + 1 + 189: as long as an address may be.
LONGEST_EMAIL = f"{'l' * 64}@{'d' * 63}.{'e' * 63}.{'f' * 57}.com"


def of(name: str) -> int:
    """Return the campaign whose users need this member."""
    return CAMPAIGN_OF.get(name, 44)


def wrong_types() -> Iterator[Case]:
    """Yield each member as each kind of JSON that it must not be."""
    for name in ("external_id", "email", "phone", "device_token", "timezone", "locale"):
        for kind, value in NO_TEXTS.items():
            body = user(of(name), **{name: value})
            yield invalid(f"{name} is {kind}", body, (f"user.{name}", "WRONG_TYPE"), campaign=of(name))
    for kind, value in NO_TEXTS.items():
        yield invalid(f"retain is {kind}", {**user(), "retain": value}, ("retain", "WRONG_TYPE"))
    for kind, value in NO_OBJECTS.items():
        yield invalid(f"user.data is {kind}", user(data=value), (DATA, "WRONG_TYPE"))
        yield invalid(f"event is {kind}", {**user(), "event": value}, ("event", "WRONG_TYPE"))
        yield invalid(f"user is {kind}", {"user": value}, ("user", "WRONG_TYPE"))


def missing_and_empty() -> Iterator[Case]:
    """Yield each required member as absent, as null, which means absent, and as empty."""
    for name in ("external_id", *CAMPAIGN_OF):
        for kind, value in {"missing": ..., "null": None, "empty": ""}.items():
            body = user(of(name), **{name: value})
            yield invalid(f"{name} is {kind}", body, (f"user.{name}", REQUIRED), campaign=of(name))
    yield invalid("user is null", {"user": None}, ("user", REQUIRED))
    yield invalid(
        "unknown members are null",
        {**user(x=None), "y": None},
        ("user.x", UNKNOWN_FIELD),
        ("y", UNKNOWN_FIELD),
    )


def not_text() -> Iterator[Case]:
    """Yield each address with characters that none can have."""
    for name in CAMPAIGN_OF:
        good = str(USERS[of(name)][name])
        for kind, odd in {
            "a line break": "\r\nBcc: c@d.com",
            "a tab": "\t",
            "a space": " ",
            "a DEL": "\x7f",
            "a right-to-left mark": "\u202e",
            "an emoji": "\U0001f600",
        }.items():
            body = user(of(name), **{name: good + odd})
            yield invalid(f"{name} ends with {kind}", body, (f"user.{name}", FORMAT), campaign=of(name))


def one(name: str, campaign: int = 44, /, **changes: object) -> Case:
    """Return a case with one member in a form that it must not have."""
    [member] = changes
    return invalid(name, user(campaign, **changes), (f"user.{member}", FORMAT), campaign=campaign)


REFUSED = [
    *(
        invalid(f"retain is {text!r}", {**user(), "retain": text}, ("retain", FORMAT))
        for text in ("all", "NONE", "none ", " ")
    ),
    *wrong_types(),
    *missing_and_empty(),
    *not_text(),
    invalid("an empty object", {}, ("user", REQUIRED)),
    invalid("an empty user", {"user": {}}, (EXT, REQUIRED), (MAIL, REQUIRED)),
    invalid("an empty user for a text campaign", {"user": {}}, (EXT, REQUIRED), (TEL, REQUIRED), campaign=45),
    invalid("an empty user for push", {"user": {}}, (EXT, REQUIRED), (DEVICE, REQUIRED), campaign=46),
    invalid("only an event", {"event": {}}, ("user", REQUIRED)),
    invalid("external_id of 256", user(external_id="x" * 256), (EXT, RANGE)),
    invalid("external_id of 10,000", user(external_id="x" * 10_000), (EXT, RANGE)),
    invalid("external_id of 256 umlauts", user(external_id="ü" * 256), (EXT, RANGE)),
    one("external_id with a line break", external_id="a\nb"),
    one("external_id with a C1 control", external_id="a\x85b"),
    one("external_id with a DEL", external_id="a\x7fb"),
    one("email without a domain", email="test@"),
    one("email without a name", email="@test.com"),
    one("email without an at", email="test.test.com"),
    one("email with two ats", email="a@b@test.com"),
    one("email with a display name", email="Test <test@test.com>"),
    one("email with a comma", email="a@test.com,b@test.com"),
    one("email with two dots", email="a..b@test.com"),
    one("email with a dot at the end", email="a.@test.com"),
    one("email at an address literal", email="a@[127.0.0.1]"),
    one("email with a quoted name", email='"a b"@test.com'),
    one("email at a host without a dot", email="a@localhost"),
    one("email at a domain for errors", email="a@b.invalid"),
    one("email at a domain of this machine", email="a@b.localhost"),
    one("email with a label of 64", email=f"a@{'d' * 64}.com"),
    one("email with a name of 65", email=f"{'l' * 65}@test.com"),
    one("email with a hyphen before the dot", email="a@test-.com"),
    invalid("email of 255", user(email=LONGEST_EMAIL.replace(".com", ".info")), (MAIL, RANGE)),
    one("phone without a plus", 45, phone="12025550123"),
    one("phone with dashes", 45, phone="+1-202-555-0123"),
    one("phone of country 0", 45, phone="+02025550123"),
    one("phone of 16 digits", 45, phone="+1202555012345678"),
    one("phone in Arabic digits", 45, phone="+١٢٠٢٥٥٥٠١٢٣"),
    one("phone with letters", 45, phone="+1202555CALL"),
    one("phone that is a plus", 45, phone="+"),
    one("phone too short for its country", 45, phone="+1202555"),
    one("phone too long for its country", 45, phone="+120255501234"),
    one("phone of a country that there is not", 45, phone="+99912345678"),
    one("device_token with a slash", 46, device_token=TOKEN + "/"),
    one("device_token with a quote", 46, device_token=TOKEN + '"'),
    one("device_token with a full stop", 46, device_token=TOKEN + "."),
    invalid("timezone on Mars", user(timezone="Mars/Base"), (ZONE, UNKNOWN)),
    invalid("timezone as a path", user(timezone="../UTC"), (ZONE, UNKNOWN)),
    invalid("timezone as an offset", user(timezone="+01:00"), (ZONE, UNKNOWN)),
    invalid("timezone with a space", user(timezone="America/Chicago "), (ZONE, UNKNOWN)),
    invalid("timezone with a line break", user(timezone="UTC\n"), (ZONE, UNKNOWN)),
    invalid("timezone of 65", user(timezone="x" * 65), (ZONE, RANGE)),
    one("locale with an exclamation mark", locale="e!"),
    one("locale of one letter", locale="e"),
    one("locale with a space", locale="en US"),
    one("locale that ends with a dash", locale="en-"),
    one("locale in Cyrillic", locale="ру"),  # noqa: RUF001 - it is the point
    one("locale with a line break", locale="en\n"),
    invalid("locale of 36", user(locale="en" + "-abcdefgh" * 3 + "-abcdef"), (LOCALE, RANGE)),
    invalid("an unknown member of user", user(nickname="x"), ("user.nickname", "UNKNOWN_FIELD")),
    invalid("a member in camelCase", user(externalId="x"), ("user.externalId", "UNKNOWN_FIELD")),
    invalid("a member without a name", user(**{"": "x"}), ("user.", "UNKNOWN_FIELD")),
    *(
        invalid(f"a member named {name!r}", user(**{name: 1}), (f"user.{name}", "UNKNOWN_FIELD"))
        for name in ODD_NAMES
    ),
    invalid("an unknown member", {**user(), "evnt": {}}, ("evnt", "UNKNOWN_FIELD")),
    invalid("the proto's own member", {**user(), "campaign_id": 44}, ("campaign_id", "UNKNOWN_FIELD")),
    invalid(
        "several at once",
        {"user": {"external_id": 1, "email": "x", "timezone": "x", "nick": 1}, "x": 1},
        (MAIL, FORMAT),
        (EXT, "WRONG_TYPE"),
        ("user.nick", "UNKNOWN_FIELD"),
        (ZONE, UNKNOWN),
        ("x", "UNKNOWN_FIELD"),
    ),
    invalid(
        "all of text wrong",
        user(45, external_id="", phone="x", timezone="x", locale="!"),
        (EXT, REQUIRED),
        (TEL, FORMAT),
        (ZONE, UNKNOWN),
        (LOCALE, FORMAT),
        campaign=45,
    ),
]

ACCEPTED = [
    accepted("only what email needs", {"user": {"external_id": "a", "email": EMAIL}}),
    accepted("only what text needs", {"user": {"external_id": "a", "phone": PHONE}}, campaign=45),
    accepted("only what push needs", {"user": {"external_id": "a", "device_token": TOKEN}}, campaign=46),
    accepted("external_id of 255", user(external_id="x" * 255)),
    accepted("external_id of 255 umlauts", user(external_id="ü" * 255)),
    accepted("external_id of one space", user(external_id=" ")),
    accepted("external_id in Japanese", user(external_id="利用者")),
    accepted("external_id of emojis", user(external_id="\U0001f600\U0001f468\u200d\U0001f469")),
    accepted("external_id with markup", user(external_id="<b>\"&'</b>")),
    accepted("external_id of Liquid", user(external_id="{{ event }}{% raw %}")),
    accepted("email of 254", user(email=LONGEST_EMAIL)),
    accepted("email with a plus", user(email="a+b@test.com")),
    accepted("email in capitals", user(email="TEST@TEST.COM")),
    accepted("email at an umlaut domain", user(email="a@bücher.example.com")),
    *(accepted(f"email at {name}", user(email=f"a@b.{name}")) for name in ("test", "local", "home.arpa")),
    accepted("phone of Germany", user(45, phone="+4915112345678"), campaign=45),
    accepted("phone of Denmark", user(45, phone="+4520123456"), campaign=45),
    accepted("device_token of 4,096", user(46, device_token="x" * 4096), campaign=46),
    accepted("device_token of 8", user(46, device_token="aA0_:-zZ"), campaign=46),
    accepted("timezone is empty", user(timezone="")),
    accepted("timezone is missing", user(timezone=...)),
    accepted("timezone is an alias", user(timezone="US/Central")),
    accepted("timezone is UTC", user(timezone="UTC")),
    *(accepted(f"{name} is null", user(**{name: None})) for name in ("timezone", "locale", "data", "phone")),
    accepted("event and send_at are null", {**user(), "event": None, "send_at": None}),
    accepted("null inside event is a value", {**user(), "event": {"a": None}}),
    accepted("an email is null for text", user(45, email=None), campaign=45),
    accepted("locale is empty", user(locale="")),
    accepted("locale is missing", user(locale=...)),
    accepted("locale with an underscore", user(locale="en_US")),
    accepted("locale of 35", user(locale="en" + "-abcdefgh" * 3 + "-abcde")),
    accepted("locale with script and region", user(locale="zh-Hant-TW")),
    accepted("locale of Spanish", user(locale="es-MX")),
    accepted("user.data", user(data={"a": {"b": [1, 2.5, None, True, "ü"]}})),
    accepted("user.data is empty", user(data={})),
    accepted("retain is none", {**user(), "retain": "none"}),
    accepted("retain is empty", {**user(), "retain": ""}),
    accepted("retain is null", {**user(), "retain": None}),
    accepted("retain of a text", {**user(45), "retain": "none"}, campaign=45),
    accepted("event is empty", {**user(), "event": {}}),
    accepted("another channel's address too", user(phone=PHONE, device_token="anything at all")),
]
