"""DeliveryService of the admin API."""

from __future__ import annotations

import datetime as dt
import uuid
from itertools import groupby

from clarion.admin.v1 import delivery_pb2 as pb
from clarion.admin.v1 import delivery_pb2_grpc
from clarion.v1 import delivery_pb2 as client_pb

from ..api.proto_messages import delivery_message, timestamp
from ..domain.delivery import DeliveryState
from ..domain.waiting import Reason, Waiting, suppression_paused
from ..errors import DeliveryNotFound
from ..intake.rules import require_valid
from ..store.admin.webhook_log import list_log_of_trigger
from ..store.pool import Pool, reached
from ..store.records import admin_lists, admin_pages
from ..store.records.admin_pages import DeliveryRow
from ..store.records.waiting import find_lane_waits, find_reports, find_waiting
from .call import AdminCall
from .delivery_changes import DeliveryChanges
from .delivery_filters import admin_filter
from .delivery_messages import delivery_message_of
from .paging import page_start, page_token
from .previews import Previews
from .webhook_messages import message_of

__all__ = ["DeliveryServicer"]

_DEFAULT_PAGE = 50
_MESSAGES = 50
_TIME_BITS = 80  # a UUID of version 7 begins with 48 bits of milliseconds (RFC 9562, 5.7)


class DeliveryServicer(DeliveryChanges, delivery_pb2_grpc.DeliveryServiceServicer):
    """Finds deliveries, and retries and cancels them.

    Args:
        pool: The database.
    """

    def __init__(self, pool: Pool) -> None:
        super().__init__(pool)
        self._pool = pool
        self._previews = Previews()

    async def ListDeliveries(  # noqa: N802 - gRPC's name
        self, request: pb.ListDeliveriesRequest, call: AdminCall
    ) -> pb.ListDeliveriesResponse:
        """Return a page of deliveries."""
        require_valid(request)
        start = page_start(request, uuid.UUID)
        state = _state(request.state)
        async with reached():
            wanted = await admin_filter(self._pool, call, request)
            page = await admin_pages.list_page(
                self._pool,
                wanted,
                state=state,
                after=start,
                limit=request.page_size or _DEFAULT_PAGE,
            )
        last = page.next_after
        return pb.ListDeliveriesResponse(
            deliveries=map(_summary, page.rows),
            next_page_token=page_token(request, last) if last else "",
            searched_back_to=timestamp(_time_of(last)) if last else None,
        )

    async def GetDelivery(  # noqa: N802 - gRPC's name
        self, request: pb.GetDeliveryRequest, call: AdminCall
    ) -> pb.GetDeliveryResponse:
        """Return one delivery with its history."""
        require_valid(request)
        trigger_id = uuid.UUID(request.trigger_id)
        async with reached(), self._pool.acquire() as connection:
            found = await admin_pages.find_detail(connection, trigger_id)
            if found is None or not call.may_see(found.delivery.project_id):
                raise DeliveryNotFound.of(request.trigger_id)
            delivery = found.delivery
            _, reports = await find_reports(connection)
            is_queued = not delivery.state.is_end
            waiting = await find_waiting(connection, trigger_id, reports) if is_queued else None
            logged = await list_log_of_trigger(connection, trigger_id, _MESSAGES)
        common = delivery_message(delivery)
        paused = suppression_paused(reports)
        detail = pb.DeliveryDetail(
            summary=_summary_of(found, common),
            attempts=common.attempts,
            send_at=timestamp(delivery.send_at),
            cancel_time=timestamp(delivery.cancelled_at),
            next_attempt_time=timestamp(delivery.next_attempt_at),
            key_id=str(delivery.key_id or ""),
            key_name=found.key_name,
            traceparent=found.traceparent,
            waiting=_waiting(waiting),
            webhook_messages=[
                message_of(list(rows)) for _, rows in groupby(logged, key=lambda row: row.message_id)
            ],
            paused_suppressions=sorted(paused & {attempt.provider for attempt in delivery.attempts}),
        )
        return pb.GetDeliveryResponse(delivery=detail)

    async def GetDeliveryMessage(  # noqa: N802 - gRPC's name
        self, request: pb.GetDeliveryMessageRequest, call: AdminCall
    ) -> pb.GetDeliveryMessageResponse:
        """Return the message of one delivery, rendered again."""
        return await delivery_message_of(self._pool, self._previews, request, call)

    async def ListDeadLetterGroups(  # noqa: N802 - gRPC's name
        self, request: pb.ListDeadLetterGroupsRequest, call: AdminCall
    ) -> pb.ListDeadLetterGroupsResponse:
        """Return the groups of the newest dead letters."""
        require_valid(request)
        async with reached():
            if request.project:
                await call.project(self._pool, request.project)
            wanted = admin_lists.AdminFilter(project=request.project or None, visible=call.visible)
            groups = await admin_pages.dead_letter_groups(self._pool, wanted)
            everything = call.visible is None and not request.project
            total = await admin_lists.dead_letters(self._pool) if everything else 0
        return pb.ListDeadLetterGroupsResponse(
            dead_letter_groups=[
                pb.DeadLetterGroup(
                    project=one.project,
                    campaign_id=one.campaign_id,
                    provider=one.provider,
                    error=one.error,
                    dead_letters=one.dead_letters,
                    first_time=timestamp(one.first_at),
                    last_time=timestamp(one.last_at),
                    sample_trigger_id=str(one.sample_id),
                )
                for one in groups
            ],
            total=total,
        )

    async def ListBacklog(  # noqa: N802 - gRPC's name
        self, request: pb.ListBacklogRequest, call: AdminCall
    ) -> pb.ListBacklogResponse:
        """Return how many triggers wait, and why."""
        require_valid(request)
        call.require()  # lanes are shared by projects
        async with reached():
            found = await admin_lists.backlog(self._pool)
            waits = await find_lane_waits(self._pool, [one.lane for one in found if one.due])
        return pb.ListBacklogResponse(
            backlog=[
                pb.Backlog(
                    channel=f"CHANNEL_{one.channel.name}",
                    providers=one.providers,
                    due=one.due,
                    later=one.later,
                    sending=one.sending,
                    oldest_due_seconds=one.oldest_due,
                    waiting=_waiting(waits.get(one.lane)),
                    more_due=one.more_due,
                    more_later=one.more_later,
                )
                for one in found
            ]
        )


def _state(value: int) -> DeliveryState | None:
    if not value:
        return None
    name = client_pb.DeliveryState.Name(client_pb.DeliveryState.ValueType(value))
    return DeliveryState(name.removeprefix("DELIVERY_STATE_").lower())


def _time_of(trigger_id: uuid.UUID) -> dt.datetime | None:
    """Return the time in a UUID of version 7; None if another program made an ID without one."""
    try:
        return dt.datetime.fromtimestamp((trigger_id.int >> _TIME_BITS) / 1000, dt.UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _waiting(waiting: Waiting | None) -> pb.Waiting | None:
    if waiting is None:
        return None
    reason: Reason = waiting.reason
    return pb.Waiting(waiting_reason=reason.value, detail=waiting.detail, until=timestamp(waiting.until))


def _summary_of(found: admin_pages.Detail, common: client_pb.Delivery) -> pb.DeliverySummary:
    last = found.delivery.attempts[-1] if found.delivery.attempts else None
    return pb.DeliverySummary(
        trigger_id=common.trigger_id,
        project=found.project,
        campaign_id=common.campaign_id,
        channel=common.channel,
        external_id=common.external_id,
        address=found.address,
        state=common.state,
        accept_time=common.accept_time,
        attempt_count=len(common.attempts),
        provider=last.provider if last else "",
        error=last.error if last else "",
        test=found.delivery.test,
        test_send=found.test_send,
        retain=found.retain,
    )


def _summary(row: DeliveryRow) -> pb.DeliverySummary:
    return pb.DeliverySummary(
        trigger_id=str(row.trigger_id),
        project=row.project,
        campaign_id=row.campaign_id,
        channel=f"CHANNEL_{row.channel.name}",
        external_id=row.external_id,
        address=row.address,
        state=f"DELIVERY_STATE_{row.state.name}",
        accept_time=timestamp(row.accepted_at),
        attempt_count=row.attempts,
        provider=row.provider,
        error=row.error,
        test=row.test,
        test_send=row.test_send,
        retain=row.retain,
    )
