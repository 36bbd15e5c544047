"""Places in lists and in the log of changes, as opaque text for callers: page tokens and cursors."""

from __future__ import annotations

import base64
import hashlib
import struct
import uuid

import msgspec

from ..domain.delivery import DeliveryFilter, Position

__all__ = ["cursor_of", "page_token", "place_in_list", "position_of"]

_POSITION = struct.Struct(">q16si")  # as PostgreSQL has these numbers
_DIGEST = 8  # bytes: it tells queries and damage apart, and guards nothing


def page_token(last: uuid.UUID, project_id: int, listed: DeliveryFilter) -> str:
    """Return what asks for the triggers after this one, in the same query."""
    return _text(last.bytes + _digest(last.bytes, project_id, listed))


def place_in_list(token: str, project_id: int, listed: DeliveryFilter) -> uuid.UUID | None:
    """Return the last trigger that was shown, or None if the token is damaged, or of another query."""
    raw = _bytes(token)
    last, digest = raw[:16], raw[16:]
    return uuid.UUID(bytes=last) if digest == _digest(last, project_id, listed) else None


def cursor_of(position: Position) -> str:
    """Return a position in the log as text."""
    return _text(_POSITION.pack(position.xid, position.trigger_id.bytes, position.number))


def position_of(cursor: str) -> Position | None:
    """Return the position that a text of the form of a cursor stands for, if it can be one."""
    xid, trigger_id, number = _POSITION.unpack(_bytes(cursor))
    return Position(xid, uuid.UUID(bytes=trigger_id), number) if xid >= 0 and number >= 0 else None


def _digest(last: bytes, project_id: int, listed: DeliveryFilter) -> bytes:
    return hashlib.sha256(last + msgspec.json.encode((project_id, listed))).digest()[:_DIGEST]


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
