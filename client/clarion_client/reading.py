"""How triggers are asked for: one, pages of many, and what happens to them from now on."""

from __future__ import annotations

import datetime as dt
import logging
import math
from collections.abc import Iterable
from typing import TypedDict

from clarion.v1 import delivery_pb2 as pb

from .arguments import checked_integer, checked_moment, checked_seconds, checked_text
from .deliveries import Change, DeliveryState, delivery_of, state_name
from .errors import ClarionError
from .retry import Tries

__all__ = ["PAGE", "Filter", "Followed", "Watching", "list_request"]


_LOG = logging.getLogger("clarion_client")
PAGE = 100
"""Triggers in a page."""


class Followed(TypedDict, total=False):
    """Which triggers to follow: those to which all of it applies."""

    trigger_ids: Iterable[str]
    """At most 100, without campaign and user. When all have come to their end, so has the watching:
    of none, at once."""
    campaign_id: int | None
    external_id: str
    cursor: str
    """That of an earlier change, to go on from there; without it the watching begins now."""


class Filter(TypedDict, total=False):
    """Which triggers are wanted: those to which all of it applies."""

    campaign_id: int | None
    external_id: str
    state: DeliveryState | str | None
    accepted_since: dt.datetime | None
    accepted_before: dt.datetime | None


def list_request(wanted: Filter, page_size: int) -> pb.ListTriggersRequest:
    """Return the request for the first page.

    Raises:
        TypeError: an argument is of the wrong type.
        ValueError: a moment has no time zone, or there is no such state.
    """
    request = pb.ListTriggersRequest(
        campaign_id=_number(wanted.get("campaign_id")),
        external_id=checked_text("external_id", wanted.get("external_id", "")),
        state=state_name(wanted.get("state")),
        page_size=checked_integer("page_size", page_size),
    )
    for name in ("accepted_since", "accepted_before"):
        moment = wanted.get(name)
        if moment is not None:
            getattr(request, name).CopyFrom(checked_moment(name, moment))
    return request


class Watching:
    """One watching, through as many calls as it takes."""

    def __init__(self, followed: Followed, patience: float | None = None) -> None:
        """Take what to follow, and for how many seconds to try in vain; None: without end.

        Raises:
            TypeError: an argument is of the wrong type, or `trigger_ids` is one.
            ValueError: an argument cannot be sent.
        """
        given = followed.get("trigger_ids")
        ids = None if given is None else _several(given)
        self.is_over = ids == []
        """Whether no triggers are left to follow: of none, all have come to their end."""
        self._patience = math.inf if patience is None else checked_seconds("timeout", patience)
        self._tries: Tries | None = None
        self.request = pb.WatchTriggersRequest(
            campaign_id=_number(followed.get("campaign_id")),
            external_id=checked_text("external_id", followed.get("external_id", "")),
            trigger_ids=ids,
            cursor=checked_text("cursor", followed.get("cursor", "")),
        )

    def heard(self, message: pb.WatchTriggersResponse) -> Change | None:
        """Return the change that the message tells, if it is one. The next call goes on behind it."""
        self._tries = None
        self.request.cursor = message.cursor
        if not message.HasField("delivery"):
            return None
        return Change(delivery_of(message.delivery), message.cursor)

    def pause(self, error: ClarionError) -> float | None:
        """Return the seconds to wait before the next call, or None if there is to be none."""
        begins = self._tries is None
        self._tries = self._tries or Tries(self._patience)
        seconds = self._tries.pause(error)
        if begins and seconds is not None:
            _LOG.warning("Watching is interrupted, and goes on when it can: %s", error)
        return seconds


def _number(campaign_id: int | None) -> str:
    return "" if campaign_id is None else str(checked_integer("campaign_id", campaign_id))


def _several(trigger_ids: Iterable[str]) -> list[str]:
    if isinstance(trigger_ids, str) or not isinstance(trigger_ids, Iterable):
        raise TypeError(f"trigger_ids: must be several, such as a list, not a {type(trigger_ids).__name__}")
    return [checked_text(f"trigger_ids[{place}]", one) for place, one in enumerate(trigger_ids)]
