"""Changes of many deliveries in the database, and their steps."""

from __future__ import annotations

import datetime as dt
import enum
import uuid
from collections.abc import Collection
from dataclasses import dataclass, fields, replace

import asyncpg
import msgspec

from ...domain.operator import Actor, ActorKind
from ...domain.trigger import new_id
from ..id_ranges import first_id_at
from ..pool import READING, Connection, Pool
from ..sql import load
from . import admin_lists
from .admin_lists import AT_ONCE, AdminFilter
from .cancel import FIRST, cancel_some
from .pages import CLOCK_DIFFERENCE

__all__ = [
    "BulkOperation",
    "Kind",
    "OperationState",
    "claim_operation",
    "count_running",
    "create_operation",
    "end_operation",
    "find_operation",
    "list_operations",
    "lock_operation",
    "make_step",
]

_SQL = load("records/operations.sql")
_LOCAL = load("pool.sql")["apply_local_settings"]
_KNOWN = {field.name for field in fields(AdminFilter)}
_SETTINGS = {name: READING[name] for name in ("jit", "plan_cache_mode")}


class Kind(enum.StrEnum):
    """What an operation does with each delivery."""

    RETRY = "retry"
    CANCEL = "cancel"


class OperationState(enum.StrEnum):
    """The state of an operation."""

    RUNNING = "running"
    DONE = "done"
    CANCELLED = "cancelled"
    """Stopped by an operator."""
    FAILED = "failed"
    """Stopped by an error, which the server's log has."""


@dataclass(frozen=True, slots=True)
class BulkOperation:
    """A change of all deliveries that match a filter.

    Attributes:
        id: A UUID of version 7.
        kind: What it does.
        state: Its state.
        filter: Which deliveries.
        projects: The projects to which it is restricted; None means all.
        matching: How many deliveries matched when it was created.
        is_partial: Whether only the newest were looked at for that, so that more may match.
        changed: How many it has changed so far.
        after: The last trigger that it has looked at.
        actor: The caller that requested it, without grants.
        address: That caller's address.
        request_id: The request ID.
        created_at: When it was requested.
        updated_at: When its last step ended.
        ended_at: When it ended.
    """

    id: uuid.UUID
    kind: Kind
    state: OperationState
    filter: AdminFilter
    projects: frozenset[int] | None
    matching: int
    is_partial: bool
    changed: int
    after: uuid.UUID
    actor: Actor
    address: str
    request_id: str
    created_at: dt.datetime
    updated_at: dt.datetime
    ended_at: dt.datetime | None


async def create_operation(
    connection: Connection,
    kind: Kind,
    wanted: AdminFilter,
    *,
    projects: Collection[int] | None,
    matching: int,
    is_partial: bool,
    actor: Actor,
    address: str,
    request_id: str,
) -> BulkOperation:
    """Store an operation, which the servers then carry out."""
    row = await connection.fetchrow(
        *_SQL["create"](
            id=new_id(),
            kind=kind,
            filter=msgspec.json.encode(wanted).decode(),
            projects=None if projects is None else sorted(projects),
            matching=matching,
            is_partial=is_partial,
            actor_kind=actor.kind,
            actor=actor.name,
            actor_key=actor.key_id,
            session_id=actor.session_id,
            owner=str(actor.owner),
            address=address,
            request_id=request_id,
        )
    )
    assert row is not None  # noqa: S101 - RETURNING
    return _operation(row)


async def count_running(
    connection: Connection, actor: Actor, projects: Collection[int] | None
) -> tuple[int, int]:
    """Return how many operations an actor runs, and how many run that may change the projects.

    No other can start until the transaction ends.
    """
    await connection.execute(*_SQL["lock_starts"]())
    row = await connection.fetchrow(
        *_SQL["count_running"](
            owner=str(actor.owner), actor_key=actor.key_id, actor=actor.name, projects=_ids(projects)
        )
    )
    assert row is not None  # noqa: S101 - an aggregate always has one row
    return row["own"], row["of_projects"]


async def find_operation(
    database: Pool | Connection, operation_id: uuid.UUID, visible: Collection[int] | None = None
) -> BulkOperation | None:
    """Return an operation, or None if it does not exist or is not restricted to `visible` projects."""
    row = await database.fetchrow(*_SQL["find"](id=operation_id, visible=_ids(visible)))
    return _operation(row) if row else None


async def lock_operation(connection: Connection, operation_id: uuid.UUID) -> BulkOperation | None:
    """Return an operation after its current step, and prevent the next until the transaction ends."""
    row = await connection.fetchrow(*_SQL["lock"](id=operation_id))
    return _operation(row) if row else None


async def list_operations(
    pool: Pool, visible: Collection[int] | None, *, after: uuid.UUID | None, limit: int
) -> list[BulkOperation]:
    """Return operations that are restricted to `visible` projects, the newest first."""
    rows = await pool.fetch(*_SQL["list"](visible=_ids(visible), after=after, limit=limit))
    return [_operation(row) for row in rows]


async def claim_operation(connection: Connection) -> BulkOperation | None:
    """Lock the running operation that has waited longest until the transaction ends, and return it.

    Returns:
        The operation; None if none runs, or if it has a filter of a newer version.
    """
    row = await connection.fetchrow(*_SQL["claim"]())
    if row is None or set(msgspec.json.decode(row["filter"])) - _KNOWN:
        return None
    return _operation(row)


async def end_operation(
    connection: Connection, operation_id: uuid.UUID, state: OperationState
) -> BulkOperation | None:
    """End a running operation and return it; None if it does not run."""
    row = await connection.fetchrow(*_SQL["end"](id=operation_id, state=state))
    return _operation(row) if row else None


async def make_step(connection: Connection, operation: BulkOperation) -> list[uuid.UUID]:
    """Change those of the next AT_ONCE triggers that match; end the operation after the last ones.

    Args:
        connection: The transaction that has locked the operation.
        operation: The operation.

    Returns:
        Which were changed.
    """
    await connection.execute(*_LOCAL(names=list(_SETTINGS), values=list(_SETTINGS.values())))
    wanted, started = operation.filter, operation.created_at
    if operation.kind is Kind.RETRY:
        chosen = await _next(connection, "next_dead", after=operation.after)
        changed = await admin_lists.redrive(connection, wanted, started, chosen, with_suppressed=False)
    else:
        end = first_id_at(started, CLOCK_DIFFERENCE)
        chosen = await _next(connection, "next_queued", after=operation.after, end_id=end)
        wanted = replace(wanted, before=min(started, wanted.before or started))
        changed, _ = await cancel_some(connection, wanted, FIRST, chosen)
    last = chosen[-1] if chosen else operation.after
    await connection.execute(*_SQL["advance"](id=operation.id, after=last, changed=len(changed)))
    if len(chosen) < AT_ONCE:
        await end_operation(connection, operation.id, OperationState.DONE)
    return changed


async def _next(connection: Connection, name: str, **values: object) -> list[uuid.UUID]:
    rows = await connection.fetch(*_SQL[name](**values, limit=AT_ONCE))
    return [row["trigger_id"] for row in rows]


def _ids(visible: Collection[int] | None) -> list[int] | None:
    return None if visible is None else sorted(visible)


def _operation(row: asyncpg.Record) -> BulkOperation:
    projects = row["projects"]
    return BulkOperation(
        id=row["id"],
        kind=Kind(row["kind"]),
        state=OperationState(row["state"]),
        filter=msgspec.json.decode(row["filter"], type=AdminFilter),
        projects=None if projects is None else frozenset(projects),
        matching=row["matching"],
        is_partial=row["is_partial"],
        changed=row["changed"],
        after=row["after"],
        actor=Actor(ActorKind(row["actor_kind"]), row["actor"], (), row["actor_key"], row["session_id"]),
        address=row["address"],
        request_id=row["request_id"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        ended_at=row["ended_at"],
    )
