"""SuppressionService."""

from __future__ import annotations

import datetime as dt
import time
from typing import Any

from clarion.admin.v1 import suppression_pb2 as pb
from clarion.admin.v1 import suppression_pb2_grpc

from ..api.proto_messages import timestamp
from ..channels import CHANNELS
from ..domain.campaign import Channel
from ..errors import InvalidRequest, Violation
from ..intake.rules import check_rules, require_valid
from ..store.admin import suppressions as store
from ..store.admin.projects import project_names
from ..store.pool import Pool, reached
from ..store.records.admin_lists import by_project
from .call import AdminCall
from .change import changing
from .moments import moment_in
from .paging import page_start, page_token
from .recipients import as_stored, channel_named, channel_of

__all__ = ["SuppressionServicer", "suppression_message"]

_DEFAULT_PAGE = 100
_MAX_COUNTS = 1000
_MAX_CHUNKS = 10
_MAX_SECONDS = 3.0
"""A call returns after this time, even if suppressions remain: a chunk with retries may take a second."""
_FILTERS = ("project", "channel", "address", "provider", "reason", "since")
_NO_FILTER = Violation(
    "", f"needs at least one of {', '.join(_FILTERS)}, or it would remove all suppressions", "REQUIRED"
)


class SuppressionServicer(suppression_pb2_grpc.SuppressionServiceServicer):
    """Manages suppressed recipients.

    Args:
        pool: The database.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def ListSuppressions(  # noqa: N802 - gRPC's name
        self, request: pb.ListSuppressionsRequest, call: AdminCall
    ) -> pb.ListSuppressionsResponse:
        """Return a page of suppressions."""
        require_valid(request)
        size = request.page_size or _DEFAULT_PAGE
        start = page_start(request, store.Position)
        async with reached():
            wanted = await self._filter(call, request)
            page = await store.list_suppressions(self._pool, wanted, size, start)
        end = page.end
        return pb.ListSuppressionsResponse(
            suppressions=map(suppression_message, page.rows),
            next_page_token=page_token(request, end) if end else "",
            searched_back_to=timestamp(end.created_at) if end else None,
        )

    async def CountSuppressions(  # noqa: N802 - gRPC's name
        self, request: pb.CountSuppressionsRequest, call: AdminCall
    ) -> pb.CountSuppressionsResponse:
        """Return the number of suppressions by reason."""
        require_valid(request)
        async with reached():
            wanted = await self._filter(call, request)
            counts, recipients, is_partial = await store.count_suppressions(self._pool, wanted, _MAX_COUNTS)
            stopped, more = await store.count_stopped(self._pool, wanted)
        return pb.CountSuppressionsResponse(
            counts=map(_count, counts),
            recipients=recipients,
            more=is_partial,
            stopped_messages=stopped,
            more_stopped=more,
        )

    async def AddSuppressions(  # noqa: N802 - gRPC's name
        self, request: pb.AddSuppressionsRequest, call: AdminCall
    ) -> pb.AddSuppressionsResponse:
        """Suppress recipients of one project and channel."""
        channel, addresses = _recipients(request)
        async with changing(self._pool, call) as change:
            project = await call.project(change.connection, request.project)
            added = await store.add_suppressions(
                change.connection, project.id, channel, addresses, request.reason
            )
            after = {"channel": channel, "reason": request.reason, "recipients": added}
            resource = f"suppressions/{project.name}"
            await change.record("suppressions.add", resource, project_id=project.id, after=after)
        return pb.AddSuppressionsResponse(added=added)

    async def RemoveSuppressions(  # noqa: N802 - gRPC's name
        self, request: pb.RemoveSuppressionsRequest, call: AdminCall
    ) -> pb.RemoveSuppressionsResponse:
        """Remove suppressions, in transactions of a thousand."""
        require_valid(request)
        if not any(field.name in _FILTERS for field, _ in request.ListFields()):
            raise InvalidRequest([_NO_FILTER])
        async with reached():
            wanted = await self._filter(call, request)
            until = (
                moment_in(request, "until")
                if request.HasField("until")
                else await store.database_time(self._pool)
            )
        removed = retried = 0
        done = False
        end = time.monotonic() + _MAX_SECONDS
        for _ in range(_MAX_CHUNKS):
            part = await self._remove(call, wanted, until, request)
            count = part.suppressions.total()
            removed, retried = removed + count, retried + len(part.retried)
            done = count < store.REMOVED_AT_ONCE
            if done or time.monotonic() > end:
                break
        return pb.RemoveSuppressionsResponse(
            removed=removed, retried=retried, done=done, until=timestamp(until)
        )

    async def _remove(
        self,
        call: AdminCall,
        wanted: store.SuppressionFilter,
        until: dt.datetime,
        request: pb.RemoveSuppressionsRequest,
    ) -> store.Removed:
        """Remove up to a thousand suppressions. An audit event in each affected project has their number."""
        # The address is the only filter that is a recipient's data: it is needed to undo the change.
        before = {
            name: str(getattr(request, name))
            for name in _FILTERS
            if name != "since" and getattr(request, name)
        }
        async with changing(self._pool, call) as change:
            part = await store.remove_suppressions(change.connection, wanted, until, retry=request.retry)
            names = await project_names(change.connection)
            retried = await by_project(change.connection, part.retried)
            for project_id, count in part.suppressions.items():
                await change.record(
                    "suppressions.remove",
                    f"suppressions/{names[project_id]}",
                    project_id=project_id,
                    before=before,
                    after={"removed": count, "retried": len(retried.get(project_id, ()))},
                )
        return part

    async def _filter(self, call: AdminCall, request: Any) -> store.SuppressionFilter:
        """Return the filter that a request states, restricted to what the caller may use.

        Raises:
            InvalidRequest: The channel does not exist.
            ProjectNotFound, RoleMissing: The caller may not use the project.
        """
        if request.project:
            await call.project(self._pool, request.project)
        channel = (
            channel_named(request.channel, "channel")
            if isinstance(request.channel, str)
            else channel_of(request.channel)
        )
        return store.SuppressionFilter(
            project=request.project or None,
            channel=channel,
            address=as_stored(channel, request.address) if request.address else None,
            provider=request.provider or None,
            reason=request.reason or None,
            since=moment_in(request, "since") if request.HasField("since") else None,
            visible=call.visible,
        )


def _recipients(request: pb.AddSuppressionsRequest) -> tuple[Channel, list[str]]:
    """Return the channel and the addresses as they are stored.

    Raises:
        InvalidRequest: Fields are invalid; every violation is included.
    """
    violations = check_rules(request)
    if violations:
        raise InvalidRequest(violations)
    channel = channel_named(request.channel, "channel")
    assert channel  # noqa: S101 - the field is required
    check = CHANNELS[channel].address
    stored: list[str] = []
    for index, address in enumerate(request.addresses):
        problem = check.problem(address)
        if problem:
            violations.append(Violation(f"addresses[{index}]", problem, "INVALID_FORMAT"))
        else:
            stored.append(check.as_sent(address))
    if violations:
        raise InvalidRequest(violations)
    return channel, stored


def suppression_message(one: store.Suppression) -> pb.Suppression:
    """Return a suppression as the API shows it."""
    return pb.Suppression(
        project=one.project,
        channel=f"CHANNEL_{one.channel.name}",
        address=one.address,
        reason=one.reason,
        provider=one.provider,
        trigger_id="" if one.trigger_id == store.NO_TRIGGER else str(one.trigger_id),
        create_time=timestamp(one.created_at),
    )


def _count(one: store.SuppressionCount) -> pb.SuppressionCount:
    return pb.SuppressionCount(
        project=one.project,
        channel=f"CHANNEL_{one.channel.name}",
        provider=one.provider,
        reason=one.reason,
        recipients=one.recipients,
        first_time=timestamp(one.first_at),
        last_time=timestamp(one.last_at),
    )
