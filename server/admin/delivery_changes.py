"""The part of DeliveryService that retries and cancels deliveries: some by ID, or all that match."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from clarion.admin.v1 import delivery_pb2 as pb
from clarion.admin.v1 import operation_pb2

from ..errors import InvalidRequest, Violation
from ..intake.rules import require_valid
from ..store.admin.projects import find_project
from ..store.pool import Connection, Pool, reached
from ..store.records import admin_lists as lists
from ..store.records.admin_lists import AdminFilter
from ..store.records.admin_pages import Count, count_changeable
from ..store.records.cancel import FIRST, cancel_some
from ..store.records.operations import Kind, create_operation
from .call import AdminCall
from .change import Change, changing
from .delivery_filters import admin_filter, shown_filter
from .delivery_messages import why_removed
from .errors import WrongState
from .operations import operation_message, project_of, require_few_running

__all__ = ["DeliveryChanges"]

_NOT_FILTERS = ("dry_run",)


class DeliveryChanges:
    """Retries and cancels deliveries. By ID, at once; otherwise, an operation is stored.

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
            if ids and request.dry_run:
                return pb.RetryDeliveriesResponse(retried=await lists.count_dead(self._changes, wanted, ids))
            if not ids:
                found = await count_changeable(self._changes, wanted, dead=True)
        if request.dry_run:
            return pb.RetryDeliveriesResponse(retried=found.matching, more=found.is_partial)
        if not ids:
            operation = await self._started(Kind.RETRY, call, wanted, found)
            return pb.RetryDeliveriesResponse(operation=operation)
        async with changing(self._changes, call) as change:
            now = await lists.database_time(change.connection)
            changed = await lists.redrive(change.connection, wanted, now, ids)
            if not changed:
                await _require_content(change.connection, wanted, ids)
            await _record(change, "deliveries.retry", changed)
        return pb.RetryDeliveriesResponse(retried=len(changed))

    async def CancelDeliveries(  # noqa: N802 - gRPC's name
        self, request: pb.CancelDeliveriesRequest, call: AdminCall
    ) -> pb.CancelDeliveriesResponse:
        """Cancel waiting triggers."""
        ids = _checked_ids(request)
        async with reached():
            wanted = await admin_filter(self._changes, call, request)
            if ids and request.dry_run:
                count = await lists.count_queued(self._changes, wanted, ids)
                return pb.CancelDeliveriesResponse(cancelled=count)
            if not ids:
                found = await count_changeable(self._changes, wanted, dead=False)
        if request.dry_run:
            return pb.CancelDeliveriesResponse(cancelled=found.matching, more=found.is_partial)
        if not ids:
            operation = await self._started(Kind.CANCEL, call, wanted, found)
            return pb.CancelDeliveriesResponse(operation=operation)
        async with changing(self._changes, call) as change:
            changed, _ = await cancel_some(change.connection, wanted, FIRST, ids)
            await _record(change, "deliveries.cancel", changed)
        return pb.CancelDeliveriesResponse(cancelled=len(changed))

    async def _started(
        self, kind: Kind, call: AdminCall, wanted: AdminFilter, found: Count
    ) -> operation_pb2.Operation:
        """Store an operation for the projects that the caller may use, or for the chosen one.

        Raises:
            RateLimited: Too many run.
        """
        async with changing(self._changes, call) as change:
            project = await find_project(change.connection, wanted.project) if wanted.project else None
            projects = frozenset({project.id}) if project else call.visible
            await require_few_running(change, projects)
            operation = await create_operation(
                change.connection,
                kind,
                wanted,
                projects=projects,
                matching=found.matching,
                is_partial=found.is_partial,
                actor=call.actor,
                address=call.address,
                request_id=call.request_id,
            )
            await change.record(
                "operation.start",
                f"operation/{operation.id}",
                project_id=project_of(operation),
                after={"kind": kind, "filter": shown_filter(wanted), "matching": found.matching},
            )
        return operation_message(operation)


def _checked_ids(request: Any) -> list[uuid.UUID] | None:
    """Return the trigger IDs of a request, or None for all that match.

    Raises:
        InvalidRequest: The request breaks a rule, or has no filter.
    """
    require_valid(request)
    if not any(field.name not in _NOT_FILTERS for field, _ in request.ListFields()):
        names = [field.name for field in request.DESCRIPTOR.fields if field.name not in _NOT_FILTERS]
        text = f"needs at least one of {', '.join(names)}, or it would apply to all deliveries"
        raise InvalidRequest([Violation("", text, "REQUIRED")])
    return [uuid.UUID(one) for one in dict.fromkeys(request.trigger_ids)] or None


async def _require_content(connection: Connection, wanted: AdminFilter, ids: Sequence[uuid.UUID]) -> None:
    """Check that triggers that were not retried still have their content.

    Raises:
        WrongState: The content of one of them has been removed.
    """
    found = await lists.find_without_content(connection, wanted, ids)
    if found:
        raise WrongState(f"Trigger {found[0]} cannot be retried: {why_removed(found[1])}.")


async def _record(change: Change, action: str, changed: Sequence[uuid.UUID]) -> None:
    """Record in each project which of its deliveries were changed."""
    for project_id, ids in (await lists.by_project(change.connection, changed)).items():
        await change.record(
            action,
            f"delivery/{ids[0]}" if len(ids) == 1 else "deliveries",
            project_id=project_id,
            after={"count": len(ids), "trigger_ids": ids},
        )
