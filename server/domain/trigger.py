"""Triggers: what a caller requested, after validation."""

from __future__ import annotations

import datetime as dt
import uuid

import msgspec
import uuid_utils
from asyncpg.pgproto.pgproto import UUID

from .campaign import Channel

__all__ = ["JSON_OBJECTS", "Trigger", "new_id"]

JSON_OBJECTS = ("user_data", "event")
"""The fields of a trigger that hold JSON objects as text."""


def new_id() -> uuid.UUID:
    """Return a new id: a UUID of version 7, which sorts by time.

    It has the database driver's UUID type, which is ten times as fast to create, format and send.
    """
    return UUID(uuid_utils.uuid7().bytes)


class Trigger(msgspec.Struct, frozen=True, gc=False):
    """One accepted trigger: campaign `campaign_id` for one user.

    `address` is an email address, E.164 number or device token, depending on the channel. `event` and
    `user_data` are JSON objects as text, exactly as the caller wrote them, or empty; `traceparent` is the
    caller's W3C trace context, or empty. It is a msgspec struct because each call creates
    one, and creating a frozen dataclass with this many fields takes ten times as long.

    To add a field, see CONTRIBUTING.md. Every field is part of the idempotency fingerprint unless it is in
    `idempotency.NOT_CONTENT`.
    """

    id: uuid.UUID
    project_id: int
    campaign_id: int
    channel: Channel
    external_id: str
    address: str
    timezone: str = ""
    locale: str = ""
    user_data: str = ""
    event: str = ""
    traceparent: str = ""
    key_id: uuid.UUID | None = None
    """The API key that the trigger was accepted with; None if a version before 0.2 accepted it."""
    send_at: dt.datetime | None = None
    """When the caller wants the message sent; None means at once."""
    accepted_at: dt.datetime | None = None
    test: bool = False
    """Whether a test key triggered it, so that it is never sent."""
    retain: str = ""
    """`none` if its content is removed when its delivery ends; otherwise empty."""

    def __repr__(self) -> str:
        """Omit the recipient and the content, because a repr may be logged."""
        return f"Trigger({self.id}, campaign {self.campaign_id}, {self.channel})"
