"""Endpoints of webhooks."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterable, Mapping

import asyncpg

from ...domain.webhook import ENDPOINTS_AT_MOST, TEST, Endpoint, EndpointState, EventType, Secrets, Target
from ...errors import ConfigError
from ..pool import Connection, Pool
from ..queue.webhooks_sql import SEND_TEST

__all__ = [
    "active_targets",
    "create_endpoint",
    "delete_endpoint",
    "find_endpoint",
    "list_endpoints",
    "must_be_active",
    "no_endpoint",
    "rotate_secret",
    "send_test",
    "set_state",
]

_COLUMNS = """w.id, w.url, w.events, w.state, w.created_at, w.disabled_because, w.previous_until,
    (SELECT name FROM project WHERE project.id = w.project_id) AS project"""


async def create_endpoint(
    pool: Pool, *, project: str, url: str, events: Iterable[EventType], secret: str
) -> Endpoint:
    """Store an endpoint of the project; it hears of what happens from now on.

    Raises:
        ConfigError: there is no such project, or it has as many as it may.
    """
    async with pool.acquire() as connection, connection.transaction():
        # The lock makes two that come together count each other.
        project_id = await connection.fetchval("SELECT id FROM project WHERE name = $1 FOR UPDATE", project)
        if project_id is None:
            raise ConfigError(f"there is no project {project}; `clarion projects list` shows them")
        count = await connection.fetchval("SELECT count(*) FROM webhook WHERE project_id = $1", project_id)
        if count >= ENDPOINTS_AT_MOST:
            raise ConfigError(
                f"project {project} has {count} endpoints, and {ENDPOINTS_AT_MOST} is the most:"
                " delete one with `clarion webhooks delete`"
            )
        row = await connection.fetchrow(
            "INSERT INTO webhook AS w (project_id, url, events, secret) VALUES ($1, $2, $3, $4)"  # noqa: S608
            f" RETURNING {_COLUMNS}",
            project_id,
            url,
            sorted(events),
            secret,
        )
    assert row is not None  # noqa: S101 - just written
    return _endpoint(row)


async def list_endpoints(pool: Pool, project: str | None = None) -> list[Endpoint]:
    """Return the endpoints of a project, or of all, the newest first."""
    rows = await pool.fetch(
        f"SELECT {_COLUMNS} FROM webhook w JOIN project p ON p.id = w.project_id"  # noqa: S608 - constants only
        " WHERE $1::text IS NULL OR p.name = $1 ORDER BY w.created_at DESC, w.id",
        project,
    )
    return [_endpoint(row) for row in rows]


async def find_endpoint(pool: Pool, endpoint_id: uuid.UUID) -> Endpoint:
    """Return an endpoint.

    Raises:
        ConfigError: there is no such.
    """
    row = await pool.fetchrow(f"SELECT {_COLUMNS} FROM webhook w WHERE id = $1", endpoint_id)  # noqa: S608
    if row is None:
        raise no_endpoint(endpoint_id)
    return _endpoint(row)


async def must_be_active(pool: Pool, endpoint_id: uuid.UUID) -> None:
    """Refuse an endpoint to which nothing would be sent.

    Raises:
        ConfigError: there is no such, or it is disabled.
    """
    endpoint = await find_endpoint(pool, endpoint_id)
    if endpoint.state is EndpointState.DISABLED:
        raise ConfigError(
            f"endpoint {endpoint_id} is disabled ({endpoint.disabled_because}):"
            f" run `clarion webhooks enable {endpoint_id}` first"
        )


def no_endpoint(endpoint_id: uuid.UUID) -> ConfigError:
    """Return the error that says so."""
    return ConfigError(f"there is no endpoint {endpoint_id}; `clarion webhooks list` shows them")


async def rotate_secret(
    pool: Pool, endpoint_id: uuid.UUID, secret: str, overlap: dt.timedelta
) -> Endpoint | None:
    """Give an endpoint a new secret, beside which the old one signs for a while; None: there is no such.

    Without an overlap the old one is not kept at all.
    """
    row = await pool.fetchrow(
        "UPDATE webhook w SET secret = $2, previous_secret = CASE WHEN $4 THEN secret ELSE '' END,"  # noqa: S608
        f" previous_until = CASE WHEN $4 THEN now() + $3::interval END WHERE id = $1 RETURNING {_COLUMNS}",
        endpoint_id,
        secret,
        overlap,
        bool(overlap),
    )
    return _endpoint(row) if row else None


async def set_state(pool: Pool, endpoint_id: uuid.UUID, state: EndpointState) -> Endpoint | None:
    """Disable an endpoint or enable it again; None: there is no such."""
    because = "" if state is EndpointState.ACTIVE else "by hand"
    row = await pool.fetchrow(
        f"UPDATE webhook w SET state = $2, disabled_because = $3 WHERE id = $1 RETURNING {_COLUMNS}",  # noqa: S608
        endpoint_id,
        state.value,
        because,
    )
    return _endpoint(row) if row else None


async def delete_endpoint(pool: Pool, endpoint_id: uuid.UUID) -> Endpoint | None:
    """Delete an endpoint, and what waits for it; its log stays. None: there is no such."""
    async with pool.acquire() as connection, connection.transaction():
        row = await connection.fetchrow(
            f"DELETE FROM webhook w WHERE id = $1 RETURNING {_COLUMNS}",  # noqa: S608 - constants only
            endpoint_id,
        )
        await connection.execute("DELETE FROM webhook_queue WHERE webhook_id = $1", endpoint_id)
    return _endpoint(row) if row else None


async def send_test(pool: Pool, endpoint_id: uuid.UUID) -> uuid.UUID | None:
    """Have a test sent to an active endpoint; return the message's id, or None if there is no such."""
    found: uuid.UUID | None = await pool.fetchval(SEND_TEST, endpoint_id, TEST)
    return found


async def active_targets(connection: Connection) -> Mapping[str, Target]:
    """Return all active endpoints with their secrets, by id."""
    rows = await connection.fetch(
        "SELECT id, url, secret, previous_secret, previous_until FROM webhook WHERE state = 'active'"
    )
    return {
        str(row["id"]): Target(
            row["url"], Secrets(row["secret"], row["previous_secret"], row["previous_until"])
        )
        for row in rows
    }


def _endpoint(row: asyncpg.Record) -> Endpoint:
    return Endpoint(
        id=row["id"],
        project=row["project"],
        url=row["url"],
        events=tuple(EventType(event) for event in row["events"]),
        state=EndpointState(row["state"]),
        created_at=row["created_at"],
        disabled_because=row["disabled_because"],
        previous_until=row["previous_until"],
    )
