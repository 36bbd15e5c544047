"""Idempotency: what makes two calls the same one."""

from __future__ import annotations

import hashlib

import msgspec

from .trigger import Trigger

__all__ = ["IdempotencyKey", "once"]


class IdempotencyKey(msgspec.Struct, frozen=True, gc=False):
    """A caller's idempotency key with the SHA-256 of what it stands for."""

    key: str
    content: bytes


def once(key: str, trigger: Trigger) -> IdempotencyKey:
    """Return what makes another call the same as this one: the key, and everything that would be sent."""
    said = (
        trigger.campaign_id,
        trigger.channel,
        trigger.external_id,
        trigger.address,
        trigger.timezone,
        trigger.locale,
        trigger.user_data,
        trigger.event,
        *([trigger.send_at] if trigger.send_at else ()),
    )
    return IdempotencyKey(key, hashlib.sha256(msgspec.json.encode(said)).digest())
