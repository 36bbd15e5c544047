"""The position of a trigger in the queue: its lane, when it is due, and when it expires."""

from __future__ import annotations

import datetime as dt
import functools
from typing import NamedTuple

import msgspec

from .campaign import Campaign
from .idempotency import IdempotencyKey
from .trigger import Trigger
from .window import next_opening, zone_of

__all__ = ["Placement", "ValidTrigger", "place"]


class Placement(msgspec.Struct, frozen=True):
    """A position in the queue. Without `due_at` it is due at once; without `expires_at` it never expires."""

    lane: str
    due_at: dt.datetime | None = None
    expires_at: dt.datetime | None = None


class ValidTrigger(NamedTuple):
    """A validated trigger with its position in the queue and its idempotency key, ready to commit."""

    trigger: Trigger
    placement: Placement
    key: IdempotencyKey | None = None


_due_at_once = functools.lru_cache(maxsize=1024)(Placement)


def place(
    campaign: Campaign,
    timezone: str,
    fallback: str,
    now: dt.datetime,
    send_at: dt.datetime | None = None,
    *,
    test: bool = False,
) -> Placement:
    """Return the queue position of a trigger that is accepted at the time `now`.

    Args:
        campaign: The campaign that is triggered.
        timezone: The user's IANA time zone, or empty.
        fallback: The project's IANA time zone, for users whose time zone is unknown.
        now: The current time, with a time zone.
        send_at: When the caller wants it sent. The campaign's window and time to live count from then on.
        test: Whether a test key triggers it.
    """
    ttl = campaign.retry.ttl if campaign.retry else 0.0
    lane = campaign.lane_for(test=True) if test else campaign.lane
    if campaign.window is None and not ttl and send_at is None:
        return _due_at_once(lane)
    start = max(now, send_at) if send_at else now
    opening = next_opening(campaign.window, start, zone_of(timezone, fallback)) if campaign.window else start
    return Placement(
        lane,
        opening if opening > now else None,
        start + dt.timedelta(seconds=ttl) if ttl else None,
    )
