"""The part of DeliveryService that retries and cancels deliveries, one or all that match."""

from __future__ import annotations

import uuid
from typing import Any

from clarion.admin.v1 import delivery_pb2 as pb

from ..api.proto_messages import timestamp
from ..errors import InvalidRequest, Violation
from ..intake.rules import require_valid
from ..store.admin.projects import find_project
from ..store.pool import Pool, reached
from ..store.records import admin_lists as lists
from ..store.records.cancel import FIRST, cancel_some
from .call import AdminCall
from .change import Change, changing
from .delivery_filters import admin_filter
from .moments import moment_in

__all__ = ["DeliveryChanges"]

_STEPS_OF_A_CALL = 10
_COUNTED = 100_000
_FILTERS = ("project", "campaign_id", "channel", "external_id", "accepted_since", "error", "trigger_ids")
_NO_FILTER = Violation(
    "", f"needs at least one of {', '.join(_FILTERS)}, or it would apply to all deliveries", "REQUIRED"
)


class DeliveryChanges:
    """Retries and cancels deliveries in transactions of a thousand, each with an audit event.

    Args:
        pool: The database.
    """

    def __init__(self, pool: Pool) -> None:
        self._changes = pool

    async def RetryDeliveries(  # noqa: N802 - gRPC's name
        self, request: pb.RetryDeliveriesRequest, call: AdminCall
    ) -> pb.RetryDeliveriesResponse:
        """Queue dead letters again."""
        ids = _checked_ids(request)
        async with reached():
            wanted = await admin_filter(self._changes, call, request)
            until = (
                moment_in(request, "until")
                if request.HasField("until")
                else await lists.database_time(self._changes)
            )
            if request.dry_run:
                count = await lists.count_dead(self._changes, wanted, ids, _COUNTED)
                return pb.RetryDeliveriesResponse(retried=count, done=True, until=timestamp(until))
        total, done = 0, False
        for _ in range(_STEPS_OF_A_CALL):
            async with changing(self._changes, call) as change:
                count = await lists.redrive(change.connection, wanted, until, ids)
                await _record(change, "deliveries.retry", request, count)
            total, done = total + count, count < lists.AT_ONCE
            if done:
                break
        return pb.RetryDeliveriesResponse(retried=total, done=done, until=timestamp(until))

    async def CancelDeliveries(  # noqa: N802 - gRPC's name
        self, request: pb.CancelDeliveriesRequest, call: AdminCall
    ) -> pb.CancelDeliveriesResponse:
        """Cancel waiting triggers."""
        ids = _checked_ids(request)
        async with reached():
            wanted = await admin_filter(self._changes, call, request)
            if request.dry_run:
                count = await lists.count_queued(self._changes, wanted, ids, _COUNTED)
                return pb.CancelDeliveriesResponse(cancelled=count, done=True)
        after: uuid.UUID | None = uuid.UUID(request.after) if request.after else FIRST
        total = 0
        for _ in range(_STEPS_OF_A_CALL):
            assert after is not None  # noqa: S101 - the loop ends at the end
            async with changing(self._changes, call) as change:
                count, after = await cancel_some(change.connection, wanted, after, ids)
                await _record(change, "deliveries.cancel", request, count)
            total += count
            if after is None:
                break
        return pb.CancelDeliveriesResponse(cancelled=total, done=after is None, after=str(after or ""))


def _checked_ids(request: Any) -> list[uuid.UUID] | None:
    """Return the trigger IDs of a request, or None for all that match.

    Raises:
        InvalidRequest: The request breaks a rule, or has no filter.
    """
    require_valid(request)
    if not any(field.name in _FILTERS for field, _ in request.ListFields()):
        raise InvalidRequest([_NO_FILTER])
    return [uuid.UUID(one) for one in dict.fromkeys(request.trigger_ids)] or None


async def _record(change: Change, action: str, request: Any, count: int) -> None:
    """Record what was chosen and how many deliveries were changed; nothing if there were none."""
    if not count:
        return
    one = request.trigger_ids[0] if len(request.trigger_ids) == 1 else ""
    project = await find_project(change.connection, request.project) if request.project else None
    chosen = {name: _shown(getattr(request, name)) for name in _FILTERS if getattr(request, name)}
    await change.record(
        action,
        f"delivery/{one}" if one else "deliveries",
        project_id=project.id if project else None,
        after={"count": count, "filter": chosen},
    )


def _shown(value: Any) -> object:
    if isinstance(value, str | int):
        return value
    return value.ToJsonString() if hasattr(value, "ToJsonString") else list(value)
