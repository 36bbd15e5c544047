"""Page tokens and etags of the admin API."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import uuid
from collections.abc import Mapping
from typing import Any

import msgspec
from google.protobuf.message import Message

from ..errors import InvalidRequest, Violation
from .errors import EtagMismatch

__all__ = ["etag_of", "page_start", "page_token", "place_of", "require_etag"]

_DIGEST = 8  # bytes; it detects mistakes, not attacks, so 64 bits are enough
_NOT_QUERY = ("page_size", "page_token")
_INVALID_TOKEN = Violation(
    "page_token",
    "is damaged or from another query; repeat the parameters of the previous page, or omit page_token",
    "INVALID_FORMAT",
)


def page_token(request: Message, last: object) -> str:
    """Return the token of the page after `last`.

    Args:
        request: The request, whose fields except page_size and page_token must be the same on all pages.
        last: The sort key of the last row of this page: text, numbers, or a list of them.
    """
    key = msgspec.json.encode(last)
    return base64.urlsafe_b64encode(_digest(request, key) + key).rstrip(b"=").decode()


def page_start(request: Message) -> object | None:
    """Return the sort key after which the requested page starts, or None for the first page.

    Raises:
        InvalidRequest: The token is damaged, or belongs to another query.
    """
    text: str = getattr(request, "page_token")  # noqa: B009 - generated messages have no common type for it
    if not text:
        return None
    try:
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        if raw[:_DIGEST] == _digest(request, raw[_DIGEST:]):
            start: object = msgspec.json.decode(raw[_DIGEST:])
            return start
    except (ValueError, msgspec.DecodeError):
        pass
    raise InvalidRequest([_INVALID_TOKEN])


def place_of(start: Any) -> tuple[dt.datetime, uuid.UUID]:
    """Return the time and the ID in a sort key from `page_start`; the digest of its token vouches for it."""
    moment, row_id = start
    return dt.datetime.fromisoformat(moment), uuid.UUID(row_id)


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
