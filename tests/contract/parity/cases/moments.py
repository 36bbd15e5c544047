"""`send_at`: texts that name no moment, and moments at which nothing can be sent."""

from __future__ import annotations

import datetime as dt

from .case import Case, invalid, user

__all__ = ["ACCEPTED", "REFUSED"]

NOW = dt.datetime.now(dt.UTC)
NO_MOMENTS = {
    "empty": "",
    "a date alone": "2026-12-24",
    "a time without an offset": "2026-12-24T18:00:00",
    "a month 13": "2026-13-24T18:00:00Z",
    "the 31st of February": "2027-02-31T18:00:00Z",
    "an hour 24": "2026-12-24T24:00:00Z",
    "an offset of two days": "2026-12-24T18:00:00+48:00",
    "a number as text": "1798135200",
    "a word": "tomorrow",
    "in other digits": "٢٠٢٦-12-24T18:00:00Z",
    "with a line break": "2026-12-24T18:00:00Z\n",
    "year 0": "0000-12-24T18:00:00Z",
    "before year 1 in UTC": "0001-01-01T00:00:00+01:00",
}


def at(moment: dt.datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def wrong(name: str, send_at: object, reason: str) -> Case:
    """Return a case whose `send_at` is refused."""
    return invalid(f"send_at is {name}", {**user(), "send_at": send_at}, ("send_at", reason))


REFUSED = [
    *(wrong(name, text, "INVALID_FORMAT") for name, text in NO_MOMENTS.items()),
    *(
        wrong(name, value, "WRONG_TYPE")
        for name, value in {"a Unix time": 1798135200, "an object": {"seconds": 1}}.items()
    ),
    wrong("two minutes ago", at(NOW - dt.timedelta(minutes=2)), "OUT_OF_RANGE"),
    wrong("last century", "1999-12-31T23:59:59Z", "OUT_OF_RANGE"),
    wrong("in 91 days", at(NOW + dt.timedelta(days=91)), "OUT_OF_RANGE"),
    wrong("next century", "2101-01-01T00:00:00+01:00", "OUT_OF_RANGE"),
    wrong("the last moment of all", "9999-12-31T23:59:59.999999Z", "OUT_OF_RANGE"),
    invalid(
        "send_at and an address are wrong",
        {**user(email="x"), "send_at": "1999-12-31T23:59:59Z"},
        ("user.email", "INVALID_FORMAT"),
        ("send_at", "OUT_OF_RANGE"),
    ),
    invalid("send_at in camelCase", {**user(), "sendAt": "x"}, ("sendAt", "UNKNOWN_FIELD")),
    invalid(
        "send_at without anything else",
        {"send_at": at(NOW - dt.timedelta(days=1))},
        ("user", "REQUIRED"),
        ("send_at", "OUT_OF_RANGE"),
    ),
]
ACCEPTED: list[Case] = []
