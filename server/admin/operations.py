"""OperationService, and the background task of each server that executes operations step by step."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Collection

import asyncpg
import structlog

from clarion.admin.v1 import operation_pb2 as pb
from clarion.admin.v1 import operation_pb2_grpc

from ..api.proto_messages import timestamp
from ..domain.operator import Role
from ..errors import RateLimited, StoreUnavailable
from ..intake.rules import require_valid
from ..store.pool import Connection, Pool, reached
from ..store.records import operations as store
from ..store.records.admin_lists import by_project
from ..store.records.operations import BulkOperation, OperationState
from .call import AdminCall
from .change import Change, changing, replicated_transaction
from .delivery_filters import shown_filter
from .errors import OperationNotFound, RoleMissing, WrongState
from .paging import page_of, page_start

__all__ = ["OperationServicer", "operation_message", "project_of", "require_few_running", "run_operations"]

log = structlog.get_logger(__name__)

_DEFAULT_PAGE = 50
_MAX_OF_CALLER, _MAX_OF_PROJECT = 5, 20
"""Running operations of one caller, and those that may change one project. Each server executes their steps
in turn."""
_WAIT = 10.0
_IDLE, _BETWEEN_STEPS = 1.0, 0.02  # seconds; triggers are accepted between two steps


class OperationServicer(operation_pb2_grpc.OperationServiceServicer):
    """Shows and stops operations.

    Args:
        pool: The database.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def ListOperations(  # noqa: N802 - gRPC's name
        self, request: pb.ListOperationsRequest, call: AdminCall
    ) -> pb.ListOperationsResponse:
        """Return a page of operations."""
        require_valid(request)
        size = request.page_size or _DEFAULT_PAGE
        start = page_start(request, uuid.UUID)
        async with reached():
            found = await store.list_operations(self._pool, call.visible, after=start, limit=size + 1)
        page, token = page_of(request, found, size, lambda one: one.id)
        return pb.ListOperationsResponse(operations=map(operation_message, page), next_page_token=token)

    async def GetOperation(  # noqa: N802 - gRPC's name
        self, request: pb.GetOperationRequest, call: AdminCall
    ) -> pb.GetOperationResponse:
        """Return one operation."""
        require_valid(request)
        async with reached():
            found = await store.find_operation(self._pool, uuid.UUID(request.operation_id), call.visible)
        if found is None:
            raise OperationNotFound.of(request.operation_id)
        return pb.GetOperationResponse(operation=operation_message(found))

    async def CancelOperation(  # noqa: N802 - gRPC's name
        self, request: pb.CancelOperationRequest, call: AdminCall
    ) -> pb.CancelOperationResponse:
        """Stop an operation."""
        require_valid(request)
        operation_id = uuid.UUID(request.operation_id)
        async with changing(self._pool, call) as change:
            seen = await store.find_operation(
                change.connection, operation_id, call.actor.projects(Role.VIEWER)
            )
            if seen is None:
                raise OperationNotFound.of(request.operation_id)
            if await store.find_operation(change.connection, operation_id, call.visible) is None:
                raise RoleMissing("This call needs the role operator for all projects of the operation.")
            found = await store.end_operation(change.connection, operation_id, OperationState.CANCELLED)
            if found is None:
                raise WrongState(f"The operation has ended: it is {seen.state}.")
            await change.record(
                "operation.cancel",
                f"operation/{operation_id}",
                project_id=project_of(found),
                after={"changed": found.changed},
            )
        return pb.CancelOperationResponse(operation=operation_message(found))


async def require_few_running(change: Change, projects: Collection[int] | None) -> None:
    """Check that the caller may start an operation that changes these projects; None for all.

    Raises:
        RateLimited: The caller, or one of the projects, has too many running operations.
    """
    own, of_projects = await store.count_running(change.connection, change.call.actor, projects)
    for running, most, whose in (
        (own, _MAX_OF_CALLER, "You have"),
        (of_projects, _MAX_OF_PROJECT, "The project has"),
    ):
        if running >= most:
            raise RateLimited(
                _WAIT,
                f"{whose} {running} bulk operations running, and at most {most} are allowed. Nothing was"
                " started; try again when one of them has ended, or stop one.",
            )


async def run_operations(pool: Pool) -> None:
    """Execute the steps of running operations, one after another, until cancelled.

    All servers run this. A step is one transaction, so an operation continues when a server is killed.
    """
    while True:
        pause = _IDLE
        try:
            if await _step(pool):
                pause = _BETWEEN_STEPS
        except Exception as error:  # tried again; the process must not stop
            expected = isinstance(error, StoreUnavailable | TimeoutError)
            log.warning("operations not continued", exc_info=None if expected else error)
        await asyncio.sleep(pause)


async def _step(pool: Pool) -> bool:
    """Execute a step of the operation that has waited longest; return whether there was one."""
    async with replicated_transaction(pool) as connection:
        operation = await store.claim_operation(connection)
        if operation is None:
            return False
        try:
            async with connection.transaction():  # a savepoint
                await _execute(connection, operation)
        except (asyncpg.DataError, asyncpg.SyntaxOrAccessError) as error:  # would fail again
            log.error("operation failed", operation=str(operation.id), exc_info=error)
            await store.end_operation(connection, operation.id, OperationState.FAILED)
    return True


async def _execute(connection: Connection, operation: BulkOperation) -> None:
    """Execute a step, and record it in each project as a change by the caller who requested the operation."""
    changed = await store.make_step(connection, operation)
    call = AdminCall(operation.actor, Role.OPERATOR, operation.address, operation.request_id)
    for project_id, ids in (await by_project(connection, changed)).items():
        await Change(connection, call).record(
            f"deliveries.{operation.kind}",
            f"operation/{operation.id}",
            project_id=project_id,
            after={"count": len(ids)},
        )


def project_of(operation: BulkOperation) -> int | None:
    """Return the only project of an operation; None if it has several."""
    projects = operation.projects
    return next(iter(projects)) if projects is not None and len(projects) == 1 else None


def operation_message(operation: BulkOperation) -> pb.Operation:
    """Return an operation as the API shows it."""
    return pb.Operation(
        operation_id=str(operation.id),
        kind=operation.kind.value,
        operation_state=operation.state.value,
        filters=shown_filter(operation.filter),
        matching=operation.matching,
        more=operation.is_partial,
        changed=operation.changed,
        requested_by=operation.actor.name,
        create_time=timestamp(operation.created_at),
        update_time=timestamp(operation.updated_at),
        end_time=timestamp(operation.ended_at),
    )
