"""Requests that read deliveries: pages of them, and their changes from now on."""

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
from .retry import Retries

__all__ = ["PAGE_SIZE", "FindFilter", "Watch", "WatchFilter", "list_request"]

_LOG = logging.getLogger("clarion_client")
PAGE_SIZE = 100
"""Triggers per page."""


class WatchFilter(TypedDict, total=False):
    """Which triggers to watch: those that match all of these."""

    trigger_ids: Iterable[str] | None
    """At most 100, without `campaign_id` and `external_id`. The watch ends when all their deliveries have
    ended; if there are none, immediately."""
    campaign_id: int | None
    external_id: str | None
    cursor: str | None
    """The cursor of an earlier change, to continue from there; without it, the watch begins now."""


class FindFilter(TypedDict, total=False):
    """Which triggers to find: those that match all of these."""

    campaign_id: int | None
    external_id: str | None
    state: DeliveryState | str | None
    accepted_since: dt.datetime | None
    """Inclusive, with a time zone."""
    accepted_before: dt.datetime | None
    """Exclusive, with a time zone."""


def list_request(wanted: FindFilter, page_size: int) -> pb.ListTriggersRequest:
    """Return the request for the first page.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: A time has no time zone, or the state is unknown.
    """
    request = pb.ListTriggersRequest(
        campaign_id=_number(wanted.get("campaign_id")),
        external_id=_text("external_id", wanted.get("external_id")),
        state=state_name(wanted.get("state")),
        page_size=checked_integer("page_size", page_size),
    )
    for name in ("accepted_since", "accepted_before"):
        moment = wanted.get(name)
        if moment is not None:
            getattr(request, name).CopyFrom(checked_moment(name, moment))
    return request


class Watch:
    """The state of one watch, which continues over as many calls as necessary."""

    def __init__(self, watched: WatchFilter, timeout: float | None = None) -> None:
        """Check the filter and build the first request.

        Args:
            watched: What to watch.
            timeout: Seconds to try to reconnect after an interruption; None: forever.

        Raises:
            TypeError: An argument has the wrong type, such as a single string for `trigger_ids`.
            ValueError: An argument has a value that cannot be sent.
        """
        given = watched.get("trigger_ids")
        ids = None if given is None else _checked_ids(given)
        self.is_over = ids == []
        """Whether there is nothing to watch, because `trigger_ids` is empty."""
        self._timeout = math.inf if timeout is None else checked_seconds("timeout", timeout)
        self._retries: Retries | None = None
        self.request = pb.WatchTriggersRequest(
            campaign_id=_number(watched.get("campaign_id")),
            external_id=_text("external_id", watched.get("external_id")),
            trigger_ids=ids,
            cursor=_text("cursor", watched.get("cursor")),
        )

    def change_of(self, message: pb.WatchTriggersResponse) -> Change | None:
        """Return the change in a message, if it has one, and continue after it in the next call."""
        self._retries = None
        self.request.cursor = message.cursor
        if not message.HasField("delivery"):
            return None
        return Change(delivery_of(message.delivery), message.cursor)

    def pause_or_raise(self, error: ClarionError, cause: Exception) -> float:
        """Return the seconds to wait before the next call.

        Args:
            error: The error that interrupted the last call.
            cause: The exception that it was made from.

        Raises:
            ClarionError: There must not be another call.
        """
        is_first = self._retries is None
        self._retries = self._retries or Retries(self._timeout)
        seconds = self._retries.pause_or_raise(error, cause)
        if is_first:
            _LOG.warning("Watch interrupted; it continues once the server can be reached: %s", error)
        return seconds


def _number(campaign_id: int | None) -> str:
    return "" if campaign_id is None else str(checked_integer("campaign_id", campaign_id))


def _text(name: str, given: str | None) -> str:
    return "" if given is None else checked_text(name, given)


def _checked_ids(trigger_ids: Iterable[str]) -> list[str]:
    if isinstance(trigger_ids, str) or not isinstance(trigger_ids, Iterable):
        raise TypeError(f"trigger_ids: must be a list or another iterable, not {type(trigger_ids).__name__}")
    return [checked_text(f"trigger_ids[{index}]", one) for index, one in enumerate(trigger_ids)]
