"""AuditService."""

from __future__ import annotations

import datetime as dt
from typing import NamedTuple

from clarion.admin.v1 import audit_pb2 as pb
from clarion.admin.v1 import audit_pb2_grpc

from ..api.proto_messages import timestamp
from ..intake.rules import require_valid
from ..store.admin import audit as store
from ..store.pool import Pool, reached
from .call import AdminCall
from .moments import moment_in
from .paging import page_of, page_start

__all__ = ["AuditServicer"]

_DEFAULT_PAGE = 100


class _Last(NamedTuple):
    """The sort key of the last event of a page."""

    occurred_at: dt.datetime
    event_id: int


class AuditServicer(audit_pb2_grpc.AuditServiceServicer):
    """Reads the audit log.

    Args:
        pool: The database.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def ListAuditEvents(  # noqa: N802 - gRPC's name
        self, request: pb.ListAuditEventsRequest, call: AdminCall
    ) -> pb.ListAuditEventsResponse:
        """Return a page of changes, newest first."""
        require_valid(request)
        size = request.page_size or _DEFAULT_PAGE
        start = page_start(request, _Last)
        async with reached():
            projects = await call.scope(self._pool, request.project)
            wanted = store.AuditFilter(
                projects=projects,
                actor=request.actor or None,
                action=request.action or None,
                resource=request.resource or None,
                since=moment_in(request, "since") if request.HasField("since") else None,
                until=moment_in(request, "before") if request.HasField("before") else None,
            )
            found = await store.list_events(self._pool, wanted, size + 1, start)
        page, token = page_of(request, found, size, lambda one: _Last(one.occurred_at, one.id))
        return pb.ListAuditEventsResponse(audit_events=map(_message, page), next_page_token=token)


def _message(one: store.AuditEvent) -> pb.AuditEvent:
    return pb.AuditEvent(
        event_id=str(one.id),
        occur_time=timestamp(one.occurred_at),
        actor=one.actor,
        actor_kind=one.actor_kind,
        admin_key_id=str(one.actor_key or ""),
        session_id=str(one.session_id or ""),
        action=one.action,
        project=one.project or "",
        resource=one.resource,
        before_json=one.before or "",
        after_json=one.after or "",
        caller_address=one.address,
        request_id=one.request_id,
    )
