"""Deliveries: search, dead letters, retry and cancel."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from starlette.responses import Response

from clarion.admin.v1 import delivery_pb2 as pb
from clarion.v1 import campaign_pb2, delivery_pb2

from ..errors import PageNotFound
from ..live import LiveRow
from ..visit import Page, Section, Visit
from ..words import word_of
from .delivery import DELIVERY_PAGES

__all__ = ["PAGES", "SECTION"]

SECTION = Section("Deliveries", "/deliveries")
_PAGE = 50
_FOLLOWED = 25  # rows of a live tail
_ID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_TEXTS = ("campaign_id", "external_id", "address", "provider", "error", "error_group")
_TIMES = ("accepted_since", "accepted_before")
_BULK = (*_TEXTS, *_TIMES, "channel")
_ENUMS: Mapping[str, Any] = {"state": delivery_pb2.DeliveryState, "channel": campaign_pb2.Channel}
_ACTIONS: Mapping[str, tuple[Callable[..., Message], str, str]] = {
    "retry": (pb.RetryDeliveriesRequest, "retried", "dead letter"),
    "cancel": (pb.CancelDeliveriesRequest, "cancelled", "waiting trigger"),
}
_STATES_OF: Mapping[str, tuple[str, ...]] = {"retry": ("", "dead"), "cancel": ("", "pending", "retrying")}
"""The states in the filter with which to offer an action: with others, it would change what is not listed."""


async def list_deliveries(visit: Visit) -> Response:
    """Search deliveries. A trigger ID leads to its delivery."""
    wanted = visit.query("q")
    if _ID.fullmatch(wanted):
        return visit.redirect(f"/deliveries/{wanted.lower()}")
    request = _list_request(visit, _PAGE)
    is_latest = not (request.page_token or request.HasField("accepted_before"))
    found: pb.ListDeliveriesResponse = await visit.call(request)
    if request.external_id == wanted and wanted and not found.deliveries and await _is_address(visit, wanted):
        return visit.redirect("/deliveries", **{**visit.request.query_params, "q": "", "address": wanted})
    bulk = {name: visit.query(name) for name in (*_BULK, "project") if visit.query(name)}
    if wanted:
        name = "address" if request.address == wanted else "external_id"
        bulk[name] = wanted
    return visit.page(
        "deliveries.html",
        "Deliveries",
        found=found,
        live=visit.url("/live/deliveries", **visit.request.query_params) if is_latest else "",
        states=_options(delivery_pb2.DeliveryState),
        channels=_options(campaign_pb2.Channel),
        word=word_of,
        bulk=bulk,
        can_retry=_offers(visit, "retry"),
        can_cancel=_offers(visit, "cancel"),
    )


async def follow_deliveries(visit: Visit) -> Response:
    """Follow the latest deliveries that match the filters in the URL."""

    def rows(found: pb.ListDeliveriesResponse) -> list[LiveRow]:
        return [
            LiveRow(one.trigger_id, visit.fragment("delivery_row.html", one=one, word=word_of))
            for one in found.deliveries
        ]

    return visit.tail(_list_request(visit, _FOLLOWED), rows)


async def change_one(visit: Visit) -> Response:
    """Retry or cancel one delivery."""
    trigger_id, action = visit.path("trigger_id"), visit.path("action")
    if action not in _ACTIONS:
        raise PageNotFound
    kind, counted, _ = _ACTIONS[action]
    if visit.form.is_sent:
        with visit.form.checked():
            changed = await visit.call(kind(trigger_ids=[trigger_id]))
            done = getattr(changed, counted)
            notice = f"The delivery was {counted}." if done else _unchanged(action)
            return visit.redirect(f"/deliveries/{trigger_id}", notice)
    text = {
        "retry": "The message becomes due at once, with all attempts of its campaign's retry policy.",
        "cancel": "The message is not sent. This cannot be undone.",
    }[action]
    crumbs = [SECTION, Section("Delivery", f"/deliveries/{trigger_id}")]
    return visit.confirm(f"{action.title()} delivery", text, f"{action.title()} it", crumbs=crumbs)


async def change_all(visit: Visit) -> Response:
    """Retry or cancel all deliveries that match, after showing how many there are."""
    action = visit.path("action")
    if action not in _ACTIONS:
        raise PageNotFound
    kind, counted, noun = _ACTIONS[action]
    fields: dict[str, Any] = {"project": visit.project, **_bulk_filters(visit)}
    if visit.form.is_sent:
        with visit.form.checked():
            started = await visit.call(kind(**fields))
            return visit.redirect(f"/operations/{started.operation.operation_id}")
    found = await visit.call(kind(**fields, dry_run=True))
    number = getattr(found, counted)
    chosen = {name: visit.query(name) for name in _BULK if visit.query(name)}
    return visit.page(
        "deliveries_bulk.html",
        f"{action.title()} all that match",
        crumbs=[SECTION],
        number=number,
        more=found.more,
        noun=noun,
        action=action,
        chosen={"project": visit.project or "all", **chosen},
        back=visit.url("/deliveries", project=visit.query("project"), **chosen),
    )


async def dead_letters(visit: Visit) -> Response:
    """Show dead letters grouped by error."""
    found: pb.ListDeadLetterGroupsResponse = await visit.call(
        pb.ListDeadLetterGroupsRequest(project=visit.project)
    )
    return visit.page("dead_letters.html", "Dead letters", crumbs=[SECTION], found=found)


PAGES = (
    Page("/deliveries", list_deliveries),
    Page("/live/deliveries", follow_deliveries),
    Page("/deliveries/all/{action}", change_all, has_form=True),
    *DELIVERY_PAGES,
    Page("/deliveries/{trigger_id}/{action}", change_one, has_form=True),
    Page("/dead-letters", dead_letters),
)


async def _is_address(visit: Visit, wanted: str) -> bool:
    """Return whether deliveries were sent to what does not look like an address, such as a token."""
    request = pb.ListDeliveriesRequest(project=visit.project, address=wanted, page_size=1)
    found: pb.ListDeliveriesResponse = await visit.call(request)
    return bool(found.deliveries)


def _list_request(visit: Visit, size: int) -> pb.ListDeliveriesRequest:
    """Return the request of the list with the filters in the URL."""
    request = pb.ListDeliveriesRequest(
        project=visit.project, page_size=size, page_token=visit.query("page"), **_filters(visit)
    )
    wanted = visit.query("q")
    if "@" in wanted or wanted.startswith("+"):
        request.address = wanted
    elif wanted:
        request.external_id = wanted
    return request


def _offers(visit: Visit, action: str) -> bool:
    """Return whether to offer an action for all deliveries that match the filters in the URL."""
    request: Any = _ACTIONS[action][0]
    return visit.query("state") in _STATES_OF[action] and visit.can(request, visit.project)


def _unchanged(action: str) -> str:
    if action == "retry":
        return "The delivery was not retried: it is not a dead letter, or its recipient is still suppressed."
    return "The delivery was not cancelled: it is being sent, or has ended."


def _filters(visit: Visit) -> dict[str, Any]:
    """Return the filters in the URL; those that cannot be read are ignored."""
    return {
        **{name: visit.query(name) for name in _TEXTS if visit.query(name)},
        **{name: at for name in _TIMES if (at := _moment(visit.query(name)))},
        **_enum(visit, "state", "DELIVERY_STATE_"),
        **_enum(visit, "channel", "CHANNEL_"),
    }


def _bulk_filters(visit: Visit) -> dict[str, Any]:
    """Return the filters in the URL; one that was ignored would change more than the person chose.

    Raises:
        PageNotFound: A filter cannot be read.
    """
    found = {name: value for name, value in _filters(visit).items() if name in _BULK}
    if any(visit.query(name) and name not in found for name in _BULK):
        raise PageNotFound
    return found


def _enum(visit: Visit, name: str, prefix: str) -> dict[str, str]:
    word = visit.query(name)
    known = {value for value, _ in _options(_ENUMS[name])}
    return {name: f"{prefix}{word.upper()}"} if word and word in known else {}


def _options(enum: Any) -> list[tuple[str, str]]:
    unspecified, *names = enum.keys()
    prefix = unspecified.removesuffix("UNSPECIFIED")
    words = [name.removeprefix(prefix).lower() for name in names]
    return [("", "all"), *((word, word) for word in words)]


def _moment(text: str) -> Timestamp | None:
    """Return a time, or a day at midnight in UTC, as a field of a browser sends it; None if it is neither."""
    if not text:
        return None
    stamp = Timestamp()
    try:
        stamp.FromJsonString(f"{text}:00Z" if "T" in text else f"{text}T00:00:00Z")
    except ValueError:
        return None
    return stamp
