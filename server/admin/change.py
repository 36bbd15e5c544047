"""Changes that operators make: one transaction with the audit event, confirmed by synchronous replicas."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import structlog

from ..store.admin.audit import record_event
from ..store.pool import Connection, Pool, reached
from ..store.replication import replicated
from .call import AdminCall

__all__ = ["Change", "changing", "replicated_transaction"]

log = structlog.get_logger("clarion.audit")


@dataclass(frozen=True, slots=True)
class Change:
    """The transaction of a change."""

    connection: Connection
    call: AdminCall

    async def record(
        self,
        action: str,
        resource: str,
        *,
        project_id: int | None,
        before: Mapping[str, object] | None = None,
        after: Mapping[str, object] | None = None,
    ) -> None:
        """Record the change in the audit log and in the process's log.

        Args:
            action: What was done, such as `project.update`.
            resource: What was changed, such as `project/demo`.
            project_id: The project that it belongs to; None for all projects.
            before: Its values before, without secrets; None if it did not exist.
            after: Its values after; None if it does not exist any more.
        """
        call = self.call
        await record_event(
            self.connection,
            call.actor,
            action,
            project_id=project_id,
            resource=resource,
            before=before,
            after=after,
            address=call.address,
            request_id=call.request_id,
        )
        log.info(action, resource=resource, actor=call.actor.name, request_id=call.request_id)


@asynccontextmanager
async def changing(pool: Pool, call: AdminCall) -> AsyncIterator[Change]:
    """Open the transaction of a change. The block calls `record` for everything that it changes.

    Raises:
        StoreUnavailable: The database is unavailable, or the synchronous replicas did not confirm it.
    """
    async with replicated_transaction(pool) as connection:
        yield Change(connection, call)


@asynccontextmanager
async def replicated_transaction(pool: Pool) -> AsyncIterator[Connection]:
    """Open a transaction, and wait at its end until the synchronous replicas have it.

    Raises:
        StoreUnavailable: The database is unavailable, or the synchronous replicas did not confirm it.
    """
    async with reached(), pool.acquire() as connection:
        with replicated(connection):
            async with connection.transaction():
                yield connection
