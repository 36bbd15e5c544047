"""One delivery: its time line, and its message."""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

from starlette.responses import Response

from clarion.admin.v1 import audit_pb2, suppression_pb2, webhook_pb2
from clarion.admin.v1 import delivery_pb2 as pb

from ..errors import ApiError
from ..visit import Page, Section, Visit
from ..words import word_of

__all__ = ["DELIVERY_PAGES"]

_SECTION = Section("Deliveries", "/deliveries")


async def delivery(visit: Visit) -> Response:
    """Show one delivery with its history."""
    found = await _find(visit)
    one, state = found.summary, word_of(found.summary, "state")
    return visit.page(
        "delivery.html",
        f"Delivery to {one.external_id}",
        crumbs=[_SECTION],
        one=one,
        detail=found,
        steps=sorted(_steps(found), key=lambda step: step[0]),
        trace_id=found.traceparent.split("-")[1] if found.traceparent else "",
        word=word_of,
        endpoints=await _endpoints(visit, found),
        is_suppressed=state == "dead" and bool(one.address) and await _is_suppressed(visit, one),
        can_audit=visit.can(audit_pb2.ListAuditEventsRequest, one.project),
        can_read=bool(one.address)
        and not one.retain
        and visit.can(pb.GetDeliveryMessageRequest, one.project),
        can_retry=bool(one.address)
        and state in ("dead", "suppressed")
        and visit.can(pb.RetryDeliveriesRequest, one.project),
        can_cancel=state in ("pending", "retrying") and visit.can(pb.CancelDeliveriesRequest, one.project),
    )


async def message(visit: Visit) -> Response:
    """Show the message of a delivery, rendered again."""
    found = await _find(visit)
    shown, problem = None, ""
    try:
        shown = await visit.call(pb.GetDeliveryMessageRequest(trigger_id=found.summary.trigger_id))
    except ApiError as error:
        if error.status is not HTTPStatus.UNPROCESSABLE_ENTITY:
            raise
        problem = str(error)
    title = f"Message to {found.summary.external_id}"
    back = Section(f"Delivery to {found.summary.external_id}", f"/deliveries/{found.summary.trigger_id}")
    return visit.page(
        "delivery_message.html",
        title,
        crumbs=[_SECTION, back],
        one=found.summary,
        message=shown,
        problem=problem,
    )


DELIVERY_PAGES = (
    Page("/deliveries/{trigger_id}", delivery),
    Page("/deliveries/{trigger_id}/message", message),
)


async def _find(visit: Visit) -> pb.DeliveryDetail:
    request = pb.GetDeliveryRequest(trigger_id=visit.path("trigger_id"))
    found: pb.DeliveryDetail = (await visit.call(request)).delivery
    return found


async def _endpoints(visit: Visit, found: pb.DeliveryDetail) -> dict[str, str]:
    """Return the URLs of the webhook endpoints that were notified, by ID, without those that were deleted."""
    if not found.webhook_messages:
        return {}
    request = webhook_pb2.ListWebhooksRequest(project=found.summary.project)
    listed: webhook_pb2.ListWebhooksResponse = await visit.call(request)
    return {one.webhook_id: one.url for one in listed.webhooks}


async def _is_suppressed(visit: Visit, one: pb.DeliverySummary) -> bool:
    """Return whether the recipient is suppressed now, such as by the attempt that made this a dead letter."""
    request = suppression_pb2.ListSuppressionsRequest(
        project=one.project, channel=one.channel, address=one.address, page_size=1
    )
    found: suppression_pb2.ListSuppressionsResponse = await visit.call(request)
    return bool(found.suppressions)


def _steps(found: pb.DeliveryDetail) -> Iterator[tuple[int, str, Any]]:
    """Yield what happened after the trigger was accepted: the time, which kind of thing, and the thing."""
    for attempt in found.attempts:
        yield attempt.start_time.ToNanoseconds(), "attempt", attempt
    for event in found.webhook_messages:
        yield event.create_time.ToNanoseconds(), "webhook", event
    if found.HasField("cancel_time"):
        yield found.cancel_time.ToNanoseconds(), "cancelled", found.cancel_time
