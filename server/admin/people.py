"""PersonService: exports and erases what a project has about a person."""

from __future__ import annotations

import uuid
from dataclasses import asdict
from typing import Any

from clarion.admin.v1 import person_pb2 as pb
from clarion.admin.v1 import person_pb2_grpc

from ..api.proto_messages import delivery_message
from ..domain.project import Project
from ..errors import InvalidRequest, Violation
from ..intake.rules import require_valid
from ..store.pool import Pool
from ..store.records import people as store
from .call import AdminCall
from .change import Change, changing
from .paging import page_of, page_start
from .recipients import as_stored
from .suppressions import suppression_message

__all__ = ["PersonServicer"]

_PAGE = 20
"""Deliveries with their content, of at most 130 KB each: gRPC clients accept 4 MiB."""
_BEGINNING = uuid.UUID(int=0)
_CHANGES = ("deliveries", "webhook_messages", "suppressions", "audit_events", "operations")
"""The counts of what a step has changed. One that only waits is not recorded."""
_NO_PERSON = Violation("", "needs external_id, address or both", "REQUIRED")
_ERASED = Violation("external_id", f"must not be {store.ERASED}, which erased people have", "UNKNOWN_VALUE")


class PersonServicer(person_pb2_grpc.PersonServiceServicer):
    """Answers requests of people about their data.

    Args:
        pool: The database.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def ExportPerson(  # noqa: N802 - gRPC's name
        self, request: pb.ExportPersonRequest, call: AdminCall
    ) -> pb.ExportPersonResponse:
        """Return a page of what the project has about a person."""
        require_valid(request)
        start = page_start(request, uuid.UUID)
        size = request.page_size or _PAGE
        async with changing(self._pool, call) as change:
            project, person = await _person(change, request)
            found = await store.export_deliveries(change.connection, person, start or _BEGINNING, size + 1)
            suppressions = []
            if start is None:
                suppressions = await store.export_suppressions(change.connection, person)
                await change.record(
                    "person.export",
                    f"project/{project.name}",
                    project_id=project.id,
                    after={"named_by": _named_by(request)},
                )
        page, token = page_of(request, found, size, lambda one: one.delivery.trigger_id)
        return pb.ExportPersonResponse(
            deliveries=map(_delivery, page),
            suppressions=map(suppression_message, suppressions),
            next_page_token=token,
        )

    async def ErasePerson(  # noqa: N802 - gRPC's name
        self, request: pb.ErasePersonRequest, call: AdminCall
    ) -> pb.ErasePersonResponse:
        """Erase up to a thousand deliveries of a person, and what else names the person."""
        require_valid(request)
        async with changing(self._pool, call) as change:
            project, person = await _person(change, request)
            savepoint = change.connection.transaction()
            await savepoint.start()
            of_all = call.visible is None
            erased = asdict(await store.erase_some(change.connection, person, of_all=of_all))
            if request.dry_run:
                await savepoint.rollback()
            else:
                await savepoint.commit()
                if erased["done"] or any(erased[name] for name in _CHANGES):
                    await change.record(
                        "person.erase",
                        f"project/{project.name}",
                        project_id=project.id,
                        after={"named_by": _named_by(request), **erased},
                    )
        return pb.ErasePersonResponse(**erased)


async def _person(change: Change, request: Any) -> tuple[Project, store.PersonFilter]:
    """Return the project and the person that a request names.

    Raises:
        InvalidRequest: It names no person, or erased ones.
        ProjectNotFound, RoleMissing: The caller may not use the project.
    """
    if not _named_by(request):
        raise InvalidRequest([_NO_PERSON])
    if request.external_id == store.ERASED:
        raise InvalidRequest([_ERASED])
    project = await change.call.project(change.connection, request.project)
    given = request.address
    addresses = tuple({given, as_stored(None, given)}) if given else ()
    return project, store.PersonFilter(project.id, request.external_id or None, addresses)


def _named_by(request: Any) -> list[str]:
    """Return by what a request names a person, without the values."""
    return [name for name in ("external_id", "address") if getattr(request, name)]


def _delivery(one: store.PersonDelivery) -> pb.PersonDelivery:
    return pb.PersonDelivery(
        delivery=delivery_message(one.delivery),
        address=one.address,
        timezone=one.timezone,
        locale=one.locale,
        user_data=one.user_data,
        event=one.event,
        traceparent=one.traceparent,
        webhook_bodies=one.webhook_bodies,
    )
