"""Where a trigger goes when it is accepted: its lane, when it is due, and until when it is worth anything."""

from __future__ import annotations

import datetime as dt
import functools
from typing import TypeAlias

import msgspec

from .campaign import Campaign
from .idempotency import IdempotencyKey
from .trigger import Trigger
from .window import next_opening, zone_of

__all__ = ["Entry", "Placement", "place"]


class Placement(msgspec.Struct, frozen=True):
    """A place in the queue. Without `due_at` it is due at once; without `expires_at` it never expires."""

    lane: str
    due_at: dt.datetime | None = None
    expires_at: dt.datetime | None = None


Entry: TypeAlias = tuple[Trigger, Placement, IdempotencyKey | None]
"""What is kept: a trigger, its place in the queue, and what it must not be kept twice for."""

_at_once = functools.lru_cache(maxsize=1024)(Placement)


def place(
    campaign: Campaign, timezone: str, fallback: str, now: dt.datetime, send_at: dt.datetime | None = None
) -> Placement:
    """Return the place of a trigger that is accepted `now`.

    Args:
        campaign: What is triggered.
        timezone: The user's IANA time zone, or empty.
        fallback: The project's time zone.
        now: The moment, with a time zone.
        send_at: When the caller wants it sent. What the campaign says counts from then on.
    """
    ttl = campaign.retry.ttl if campaign.retry else 0.0
    if campaign.window is None and not ttl and send_at is None:
        return _at_once(campaign.lane)
    start = max(now, send_at) if send_at else now
    opening = next_opening(campaign.window, start, zone_of(timezone, fallback)) if campaign.window else start
    return Placement(
        campaign.lane,
        opening if opening > now else None,
        start + dt.timedelta(seconds=ttl) if ttl else None,
    )
