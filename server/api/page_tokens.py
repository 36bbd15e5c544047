"""Page tokens and cursors: positions in lists and in the log of changes, as opaque text."""

from __future__ import annotations

import base64
import hashlib
import struct
import uuid

import msgspec

from ..domain.delivery import DeliveryFilter, Position

__all__ = ["cursor_of", "last_of_page", "page_token", "position_of"]

_POSITION = struct.Struct(">q16si")  # the sizes of PostgreSQL's types
_DIGEST = 8  # bytes; it detects mistakes, not attacks, so 64 bits are enough


def page_token(last: uuid.UUID, project_id: int, query: DeliveryFilter) -> str:
    """Return the token of the next page of the query, which starts after the trigger `last`."""
    return _text(last.bytes + _digest(last.bytes, project_id, query))


def last_of_page(token: str, project_id: int, query: DeliveryFilter) -> uuid.UUID | None:
    """Return the last trigger of the previous page, or None if the token is damaged or from another query."""
    raw = _bytes(token)
    last, digest = raw[:16], raw[16:]
    return uuid.UUID(bytes=last) if digest == _digest(last, project_id, query) else None


def cursor_of(position: Position) -> str:
    """Return the cursor of a position in the log of changes."""
    return _text(_POSITION.pack(position.xid, position.trigger_id.bytes, position.number))


def position_of(cursor: str) -> Position | None:
    """Return the position that a well-formed cursor encodes, or None if its numbers are negative."""
    xid, trigger_id, number = _POSITION.unpack(_bytes(cursor))
    return Position(xid, uuid.UUID(bytes=trigger_id), number) if xid >= 0 and number >= 0 else None


def _digest(last: bytes, project_id: int, query: DeliveryFilter) -> bytes:
    return hashlib.sha256(last + msgspec.json.encode((project_id, query))).digest()[:_DIGEST]


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
