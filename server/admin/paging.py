"""Page tokens and etags of the admin API."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeVar

import msgspec
from google.protobuf.message import Message

from ..errors import InvalidRequest, Violation
from .errors import EtagMismatch

__all__ = ["Place", "etag_of", "page_of", "page_start", "page_token", "require_etag"]

RowT = TypeVar("RowT")
StartT = TypeVar("StartT")

_DIGEST = 8  # bytes; it detects mistakes, not attacks, so 64 bits are enough
_NOT_QUERY = ("page_size", "page_token")
_INVALID_TOKEN = Violation(
    "page_token",
    "is damaged or from another query; repeat the parameters of the previous page, or omit page_token",
    "INVALID_FORMAT",
)
_INT64 = 2**63
_YEARS = range(1970, 9999)


class Place(NamedTuple):
    """The sort key of a row in lists by time."""

    moment: dt.datetime
    row_id: uuid.UUID


def page_token(request: Message, last: object) -> str:
    """Return the token of the page after `last`.

    Args:
        request: The request, whose fields except page_size and page_token must be the same on all pages.
        last: The sort key of the last row of this page, of the kind that `page_start` gets.
    """
    key = msgspec.json.encode(last)
    return base64.urlsafe_b64encode(_digest(request, key) + key).rstrip(b"=").decode()


def page_of(
    request: Message, found: Sequence[RowT], size: int, key: Callable[[RowT], object]
) -> tuple[Sequence[RowT], str]:
    """Return the rows of a page, and the token of the next one; empty on the last page.

    Args:
        request: The request.
        found: The rows from the start of the page: one more than `size` if there is a next page.
        size: The maximum number of rows of a page.
        key: Returns the sort key of a row.
    """
    page = found[:size]
    return page, page_token(request, key(page[-1])) if len(found) > size else ""


def page_start(request: Message, kind: type[StartT]) -> StartT | None:
    """Return the sort key after which the requested page starts, or None for the first page.

    Anyone can compute the digest of a token, so its key is checked, too.

    Args:
        request: The request.
        kind: The type of the list's sort keys.

    Raises:
        InvalidRequest: The token is damaged, or belongs to another query.
    """
    text: str = getattr(request, "page_token")  # noqa: B009 - generated messages have no common type for it
    if not text:
        return None
    try:
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        if raw[:_DIGEST] == _digest(request, raw[_DIGEST:]):
            start = msgspec.json.decode(raw[_DIGEST:], type=kind)
            if _is_storable(start):
                return start
    except (ValueError, msgspec.DecodeError, RecursionError):
        pass
    raise InvalidRequest([_INVALID_TOKEN])


def etag_of(values: Mapping[str, object]) -> str:
    """Return an identifier of these values, which changes when one of them does."""
    encoded = msgspec.json.encode(values, enc_hook=str, order="deterministic")
    return hashlib.sha256(encoded).hexdigest()[:16]


def require_etag(given: str, current: str, thing: str) -> None:
    """Check that the caller has read the current version; an empty etag accepts any.

    Raises:
        EtagMismatch: It has read another one.
    """
    if given and given != current:
        raise EtagMismatch(f"{thing} has changed since you read it; read it again.")


def _digest(request: Message, key: bytes) -> bytes:
    query = type(request)()
    query.CopyFrom(request)
    for name in _NOT_QUERY:
        query.ClearField(name)
    return hashlib.sha256(key + query.SerializeToString(deterministic=True)).digest()[:_DIGEST]


def _is_storable(value: object) -> bool:
    """Return whether PostgreSQL accepts the values as parameters."""
    match value:
        case int():
            return 0 <= value < _INT64
        case str():
            return "\0" not in value
        case dt.datetime():
            return value.tzinfo is not None and value.year in _YEARS
        case tuple():
            return all(map(_is_storable, value))
    return isinstance(value, uuid.UUID)
