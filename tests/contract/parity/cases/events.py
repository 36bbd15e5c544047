"""What `event` and `user.data` may hold: JSON byte for byte, within limits."""

from __future__ import annotations

import json

from clarion.v1 import trigger_pb2 as pb

from .case import Case, accepted, user, with_json
from .twins import USERS, Typed, typed

__all__ = ["ACCEPTED", "REFUSED", "TYPED_ALONE"]

LARGEST = 60_000
DEPTH = 32
VALUES = 1000
RANGE = "OUT_OF_RANGE"


def deep(levels: int) -> str:
    """Return an object nested so deep, of arrays but for the outermost."""
    return '{"a": ' + "[" * (levels - 1) + "]" * (levels - 1) + "}"


def deep_objects(levels: int, innermost: str = "{}") -> str:
    """Return the same of objects alone."""
    return '{"a":' * (levels - 1) + innermost + "}" * (levels - 1)


def many(count: int, element: str = "1") -> str:
    """Return an object with this many members and elements."""
    return '{"a":[' + ",".join([element] * (count - 1)) + "]}"


def flat(count: int) -> str:
    """Return an object with this many members, without nested values."""
    return "{" + ",".join(f'"{number}": 1' for number in range(count)) + "}"


def long(size: int) -> str:
    """Return a JSON object of this size in bytes."""
    empty = '{"a": ""}'
    return empty.replace('""', '"' + "x" * (size - len(empty)) + '"')


REFUSED = [
    with_json("event of 33 levels", deep(DEPTH + 1), ("event", RANGE)),
    with_json("event of 33 objects", deep_objects(DEPTH + 1), ("event", RANGE)),
    with_json("event of 34 levels", deep(DEPTH + 2), ("event", RANGE)),
    with_json("event of 35 levels", deep(DEPTH + 3), ("event", RANGE)),
    with_json("event of 500 levels", deep(500), ("event", RANGE)),
    with_json("event of 10,000 levels", deep(10_000), ("event", RANGE)),
    with_json("event that is an array of 100 levels", "[" * 100 + "]" * 100, ("event", "WRONG_TYPE")),
    with_json(
        "event of 40 levels, a name twice in the last", deep_objects(40, '{"a":1,"a":2}'), ("event", RANGE)
    ),
    with_json("event of 40 levels, no JSON in the last", deep_objects(40, "{nonsense}"), ("event", RANGE)),
    with_json("event of 33 levels in text and in truth", deep_objects(33, '{"]}":"[{"}'), ("event", RANGE)),
    with_json("event of 60,001 bytes", long(LARGEST + 1), ("event", RANGE)),
    with_json("event of 1,001 values", many(VALUES + 1), ("event", RANGE)),
    with_json("event of 1,001 members", flat(VALUES + 1), ("event", RANGE)),
    with_json("event of 19,900 objects", many(19_900, "{}"), ("event", RANGE)),
    with_json("user.data of 1,001 values", many(VALUES + 1), ("user.data", RANGE), member="data"),
    with_json("user.data of 33 levels", deep(DEPTH + 1), ("user.data", RANGE), member="data"),
    with_json("user.data of 34 levels", deep(DEPTH + 2), ("user.data", RANGE), member="data"),
    with_json("user.data of 500 levels", deep(500), ("user.data", RANGE), member="data"),
    with_json("user.data of 60,001 bytes", long(LARGEST + 1), ("user.data", RANGE), member="data"),
]

ACCEPTED = [
    with_json("event of 32 levels", deep(DEPTH)),
    with_json("event of 32 objects", deep_objects(DEPTH)),
    with_json("event of 1,000 values", many(VALUES)),
    with_json("event of 1,000 members", flat(VALUES)),
    with_json("event with 5,000 commas in a text", '{"a": "' + "," * 5000 + '"}'),
    with_json("event of 60,000 bytes", long(LARGEST)),
    with_json("user.data of 32 levels", deep(DEPTH), member="data"),
    with_json("user.data of 60,000 bytes", long(LARGEST), member="data"),
    with_json("a number of 19 digits", '{"order_id": 9007199254740993123}'),
    with_json("a number of 40 digits", '{"order_id": 1234567890123456789012345678901234567890}'),
    with_json("negative zero", '{"order_id": -0}'),
    with_json("negative zero with a point", '{"order_id": -0.0}'),
    with_json("a number of many decimals", '{"order_id": 0.1000000000000000055511151231257827}'),
    with_json("a tiny number", '{"order_id": 1e-400}'),
    with_json("a large exponent", '{"order_id": 1E+300}'),
    with_json("2^63", '{"order_id": 9223372036854775808}'),
    with_json("a surrogate pair escaped", '{"random_field": "\\ud83d\\ude00"}'),
    with_json("escapes of every kind", '{"random_field": "\\"\\\\\\/\\b\\f\\n\\r\\t\\u00fc"}'),
    with_json("text of many scripts", '{"random_field": "grüße 你好 שלום \U0001f600"}'),
    with_json("a line separator", '{"random_field": "a\u2028b"}'),
    with_json("whitespace of every kind", '{\t"random_field"\n:\r"x" , "a" : [ ] }'),
    with_json("an empty name", '{"": {"": ""}}'),
    with_json("names that Python has", '{"__class__": {"__init__": 1}, "constructor": null}'),
    with_json("brackets inside text", '{"random_field": "[[[[{{{{' + "[{" * 100 + '"}'),
    with_json("trailing commas inside text", '{"random_field": ",] ,} // no comment"}'),
    with_json("names that differ in case", '{"a": 1, "A": 2}'),
    with_json("names that differ in normal form", '{"\u00e9": 1, "e\u0301": 2}'),
    with_json("the same name in two objects", '{"a": {"a": 1}, "b": {"a": 2}}'),
    with_json("Liquid in the event", '{"random_field": "{{ user.email }}{% for a in b %}"}'),
    with_json("markup in the event", '{"random_field": "<script>alert(1)</script>"}'),
    accepted("an event for text", {**user(45), "event": {"code": 9007199254740993123}}, campaign=45),
    accepted("an event for push", {**user(46), "event": {"headline": "grüße \U0001f600"}}, campaign=46),
    accepted("a Spanish text message", {**user(45, locale="es"), "event": {"code": "1"}}, campaign=45),
]


def alone(name: str, request: Typed, *fields: tuple[str, str], reason: str = "INVALID_REQUEST") -> Case:
    """Return a case that only a typed call can state: REST says it otherwise."""
    return Case(name, None, reason=reason, fields=fields, twin=request)


def wrong_json() -> list[Case]:
    """Return cases in which the two fields for JSON as text hold something other than an object."""
    malformed = {
        "no JSON": "x",
        "a trailing comma": '{"a": 1,}',
        "NaN": '{"a": NaN}',
        "an infinite number": '{"a": 1e400}',
        "a duplicate name": '{"a": 1, "a": 2}',
        "half a surrogate pair": '{"a": "\\ud800"}',
        "an escaped NUL": '{"a": "\\u0000"}',
        "a comment": '{"a": 1} // no',
        "two values": "{} {}",
        "a byte order mark": "\ufeff{}",
    }
    others = {"an array": "[]", "text": '"{}"', "null": "null", "a number": "5", "a boolean": "true"}
    cases = []
    for field, member in {"event": "event", "user.data": "data"}.items():
        for kinds, reason in ((malformed, "MALFORMED_JSON"), (others, "WRONG_TYPE")):
            for kind, text in kinds.items():
                cases.append(alone(f"{field} is {kind}", typed(**{member: text}), (field, reason)))
    return cases


_WITHOUT_USER = pb.TriggerEmailRequest(campaign_id=44)
_WITHOUT_CAMPAIGN = pb.TriggerEmailRequest(user=pb.EmailUser(**USERS[44]))
_NEGATIVE = pb.TriggerEmailRequest(campaign_id=-1, user=pb.EmailUser(**USERS[44]))

TYPED_ALONE = [
    *wrong_json(),
    alone("no user", _WITHOUT_USER, ("user", "REQUIRED")),
    alone("no campaign", _WITHOUT_CAMPAIGN, ("campaign_id", "REQUIRED")),
    alone("a negative campaign", _NEGATIVE, ("campaign_id", "OUT_OF_RANGE")),
    alone(
        "nothing",
        pb.TriggerPushRequest(),
        ("campaign_id", "REQUIRED"),
        ("user", "REQUIRED"),
    ),
    alone("a typed event of 60,001 bytes", typed(event=long(LARGEST + 1)), ("event", RANGE)),
    alone("a typed event of 200,000 bytes", typed(event=long(200_000)), ("event", RANGE)),
    alone("an event that is JSON inside text", typed(event=json.dumps("{}")), ("event", "WRONG_TYPE")),
]
