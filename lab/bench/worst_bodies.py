"""The bodies that take longest to validate: valid ones up to the limits, and large ones that are rejected."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from server.errors import InvalidRequest

__all__ = ["WORST", "answered"]

_USER = '{"user": {"external_id": "a", "email": "a@example.com", "data": %s}, "event": %s}'
_FULL = "{" + ", ".join(f'"{number}": ""' for number in range(999)) + "}"
_NESTED = '{"a": [' + ", ".join(["[" * 29 + "]" * 29] * 16) + "]}"
_WIDE = '{"a": [' + '"",' * 19_000 + "0]}"
_DEEP = "[" * 28_500 + "]" * 28_500
_GROUPS = "[" + ",".join(["[" * 40 + "]" * 40] * 700) + "]"

WORST: Mapping[str, bytes] = {
    "1,000 values in event and in user.data": (_USER % (_FULL, _FULL)).encode(),
    "500 arrays of 31 levels in event and in user.data": (_USER % (_NESTED, _NESTED)).encode(),
    "19,000 values in event, rejected": (_USER % ("{}", _WIDE)).encode(),
    "28,500 levels in event, rejected": (_USER % ("{}", _DEEP)).encode(),
    "700 arrays of 41 levels in event, rejected": (_USER % ("{}", _GROUPS)).encode(),
}
"""Bodies of REST calls by what is in them."""


def answered(call: Callable[[bytes], object]) -> Callable[[bytes], object]:
    """Return a function that makes a call and returns the error, if it is rejected."""

    def answer(body: bytes) -> object:
        try:
            return call(body)
        except InvalidRequest as error:
            return error

    return answer
