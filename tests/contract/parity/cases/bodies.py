"""The body as JSON: syntax, encoding, size."""

from __future__ import annotations

import json

from tests.kit.documented_bodies import EMAIL, PUSH, TEXT
from tests.kit.stack import EXAMPLE

from .case import accepted, invalid, user
from .twins import USERS

__all__ = ["ACCEPTED", "REFUSED"]

GOOD = json.dumps(EXAMPLE)
MALFORMED = ("", "MALFORMED_JSON")
NOT_OBJECT = ("", "WRONG_TYPE")
LARGEST = 64 * 1024
START = '{"user": {"external_id": "a", "email": "test@test.com"}, '


def padded(size: int) -> str:
    """Return a valid body of this size in bytes, padded with spaces."""
    return GOOD[:-1] + " " * (size - len(GOOD)) + "}"


SYNTAX: dict[str, str | bytes] = {
    "an empty body": b"",
    "only whitespace": " \r\n\t ",
    "a NUL byte": b"\x00",
    "half an object": '{"user": ',
    "an object without its end": GOOD[:-1],
    "one bracket too many": GOOD + "}",
    "two objects": GOOD + GOOD,
    "text after the object": GOOD + " x",
    "5,000 closing brackets": GOOD + "]" * 5000,
    "single quotes": GOOD.replace('"', "'"),
    "names without quotes": "{user: {}}",
    "a missing colon": '{"user" {}}',
    "a missing comma": START.replace(", ", " ", 1) + '"event": {}}',
    "a line comment": "// hello\n" + GOOD,
    "a block comment": GOOD[:-1] + "/* bye */}",
    "a comma alone": '{,"user": {}}',
    "two trailing commas": GOOD[:-1] + ",,}",
    "a comma in an empty object": START + '"event": {,}}',
    "a trailing comma after the object": GOOD + ",",
    "NaN": START + '"event": {"a": NaN}}',
    "Infinity": START + '"event": {"a": -Infinity}}',
    "an infinite number": START + '"event": {"a": 1e400}}',
    "a negative infinite number": START + '"event": {"a": -1e400}}',
    "a number of 5,000 digits": START + '"event": {"a": ' + "9" * 5000 + "}}",
    "a number with a plus": START + '"event": {"a": +1}}',
    "a number with a zero before it": START + '"event": {"a": 01}}',
    "a number without a fraction": START + '"event": {"a": 1.}}',
    "a number without an integer": START + '"event": {"a": .5}}',
    "a hexadecimal number": START + '"event": {"a": 0x1F}}',
    "True in capitals": START + '"event": {"a": True}}',
    "a raw line break in text": START + '"event": {"a": "b\nc"}}',
    "a raw tab in text": START + '"event": {"a": "b\tc"}}',
    "an escape that is none": START + '"event": {"a": "\\x41"}}',
    "half an escape": START + '"event": {"a": "\\u00"}}',
    "an escaped NUL": START + '"event": {"a": "\\u0000"}}',
    "an escaped NUL in a name": START + '"event": {"a\\u0000": 1}}',
    "an escaped NUL in external_id": '{"user": {"external_id": "\\u0000", "email": "test@test.com"}}',
    "the first half of a surrogate pair": START + '"event": {"a": "\\ud800"}}',
    "the second half of a surrogate pair": START + '"event": {"a": "\\udc00"}}',
    "a surrogate pair the wrong way": START + '"event": {"a": "\\ude00\\ud83d"}}',
    "half a surrogate pair in external_id": '{"user": {"external_id": "\\ud800"}}',
    "the same name twice": '{"user": {}, "user": {}}',
    "the same name twice inside user": '{"user": {"external_id": "a", "external_id": "b"}}',
    "the same name twice inside event": START + '"event": {"a": 1, "a": 2}}',
    "the same name twice, once escaped": START + '"event": {"a": 1, "\\u0061": 2}}',
    "the same name twice deep inside": START + '"event": {"a": [{"b": {"c": 1, "c": 1}}]}}',
    "a byte order mark": b"\xef\xbb\xbf" + GOOD.encode(),
    "a byte order mark alone": b"\xef\xbb\xbf",
    "two byte order marks": b"\xef\xbb\xbf\xef\xbb\xbf" + GOOD.encode(),
    "UTF-16 with a mark": GOOD.encode("utf-16"),
    "UTF-16 without a mark": GOOD.encode("utf-16-le"),
    "UTF-32": GOOD.encode("utf-32"),
    "Latin-1": '{"user": {"external_id": "ü"}}'.encode("latin-1"),
    "a byte that is not UTF-8": b'{"user": {"external_id": "\xff"}}',
    "an overlong UTF-8 character": b'{"user": {"external_id": "\xc0\xaf"}}',
    "a surrogate in UTF-8": b'{"user": {"external_id": "\xed\xa0\x80"}}',
    "half a UTF-8 character": b'{"user": {"external_id": "\xc3',
    "a form": "user%5Bexternal_id%5D=a",
    "XML": "<user><external_id>a</external_id></user>",
    "compressed bytes": b"\x1f\x8b\x08\x00\x00\x00\x00\x00",
}
OTHERS = {
    "an array": "[]",
    "an array of objects": f"[{GOOD}]",
    "a number": "5",
    "a number of 20 digits": "12345678901234567890",
    "text": '"user"',
    "empty text": '""',
    "null": "null",
    "a boolean": "true",
    "JSON inside text": json.dumps(GOOD),
}

DEEP = json.loads("[" * 100 + "]" * 100)

REFUSED = [
    *(invalid(f"a body of {name}", content, MALFORMED) for name, content in SYNTAX.items()),
    *(invalid(f"a body that is {name}", content, NOT_OBJECT) for name, content in OTHERS.items()),
    # Beyond 128 levels, nothing else is looked for.
    invalid("a body of 5,000 opening brackets", '{"user": ' + "[" * 5000, ("", "OUT_OF_RANGE")),
    invalid(
        "a body of 5,000 brackets of the wrong kind",
        START + '"event": {"a": ' + "[" * 5000 + "}" * 5000 + "}}",
        ("event", "OUT_OF_RANGE"),
    ),
    invalid("a body that is an array of 10,000 levels", "[" * 10_000 + "]" * 10_000, ("", "OUT_OF_RANGE")),
    invalid("an unknown member of 100 levels", {**EXAMPLE, "x": DEEP}, ("x", "UNKNOWN_FIELD")),
    invalid("an unknown member of user of 100 levels", user(x=DEEP), ("user.x", "UNKNOWN_FIELD")),
    invalid("external_id of 100 levels", user(external_id=DEEP), ("user.external_id", "WRONG_TYPE")),
    invalid("a user of 100 levels", {"user": DEEP}, ("user", "WRONG_TYPE")),
    invalid(
        "a body like the gRPC message of this call",
        {"campaign_id": "44", "body": {}},
        ("body", "UNKNOWN_FIELD"),
        ("campaign_id", "UNKNOWN_FIELD"),
        ("user", "REQUIRED"),
    ),
]

ACCEPTED = [
    accepted("the documented email, as printed", EMAIL),
    accepted("the documented text message, as printed", TEXT, campaign=45),
    accepted("the documented push notification, as printed", PUSH, campaign=46),
    accepted(
        "a trailing comma everywhere",
        '{"user": {"external_id": "a", "email": "t@test.com",},"event": {"a": [1,],},}',
    ),
    accepted("a body of 64 KiB", padded(LARGEST)),
    accepted("a body with whitespace around it", f"\r\n\t {GOOD} \n"),
    accepted("a body in one line", json.dumps(EXAMPLE, separators=(",", ":"))),
    accepted("a body with event first", json.dumps({"event": {"a": 1}, "user": USERS[44]})),
    accepted("a body all escaped", GOOD.replace("user", "\\u0075ser").replace("test.com", "test\\u002ecom")),
]
