"""The audit log in the database."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from ...domain.operator import Actor
from ..pool import Connection
from ..sql import load

__all__ = ["record_event"]

_SQL = load("admin/audit.sql")


async def record_event(
    connection: Connection,
    actor: Actor,
    action: str,
    *,
    project_id: int | None,
    resource: str,
    before: Mapping[str, object] | None,
    after: Mapping[str, object] | None,
    address: str,
    request_id: str,
) -> None:
    """Record a change, in the transaction of the change.

    Args:
        connection: The connection of the change.
        actor: The caller that made it.
        action: What was done, such as `project.update`.
        project_id: The project that it belongs to; None for all projects.
        resource: What was changed, such as `project/demo`.
        before: Its values before, without secrets; None if it did not exist.
        after: Its values after; None if it does not exist any more.
        address: The caller's address, or how else the call was made.
        request_id: The request ID, by which log lines are found.
    """
    await connection.execute(
        *_SQL["record"](
            actor_kind=actor.kind,
            actor=actor.name,
            actor_key=actor.key_id,
            session_id=actor.session_id,
            action=action,
            project_id=project_id,
            resource=resource,
            before=_json(before),
            after=_json(after),
            address=address,
            request_id=request_id,
        )
    )


def _json(values: Mapping[str, object] | None) -> str | None:
    return None if values is None else msgspec.json.encode(values, enc_hook=str).decode()
