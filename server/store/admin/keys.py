"""API keys and the projects that they belong to."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterable, Mapping

import asyncpg

from ...domain.key import ApiKey, Scope, hash_secret
from ...domain.limit import NO_OWN_LIMIT, OwnLimit
from ...domain.project import Project
from ..pool import Connection, Pool

__all__ = [
    "all_by_hash",
    "all_projects",
    "create_key",
    "ensure_project",
    "find_key",
    "limit_key",
    "limit_project",
    "list_keys",
    "list_projects",
    "revoke_key",
    "set_timezone",
]

_COLUMNS = "id, project_id, name, scopes, campaign_ids, created_at, expires_at, revoked_at, rate, burst"
_PROJECT_COLUMNS = "id, name, created_at, rate, burst, timezone"


def _key(row: asyncpg.Record) -> ApiKey:
    return ApiKey(
        id=row["id"],
        project_id=row["project_id"],
        name=row["name"],
        scopes=frozenset(Scope(scope) for scope in row["scopes"]),
        created_at=row["created_at"],
        campaign_ids=frozenset(row["campaign_ids"]),
        expires_at=row["expires_at"],
        revoked_at=row["revoked_at"],
        limit=OwnLimit(row["rate"], row["burst"]),
    )


async def all_by_hash(connection: Connection) -> Mapping[bytes, ApiKey]:
    """Return all keys that are not revoked, by the SHA-256 of their secrets."""
    rows = await connection.fetch(f"SELECT secret_hash, {_COLUMNS} FROM api_key WHERE revoked_at IS NULL")  # noqa: S608 - constants only
    return {row["secret_hash"]: _key(row) for row in rows}


async def ensure_project(pool: Pool, name: str) -> int:
    """Return the id of the project called `name`; make it if there is none."""
    await pool.execute("INSERT INTO project (name) VALUES ($1) ON CONFLICT (name) DO NOTHING", name)
    found: int = await pool.fetchval("SELECT id FROM project WHERE name = $1", name)
    return found


async def create_key(
    pool: Pool,
    secret: str,
    *,
    project_id: int,
    name: str,
    scopes: Iterable[Scope],
    campaign_ids: Iterable[int] = (),
    expires_at: dt.datetime | None = None,
    limit: OwnLimit = NO_OWN_LIMIT,
) -> ApiKey:
    """Store a key by the hash of its secret. The same secret again is the same key."""
    await pool.execute(
        "INSERT INTO api_key"
        " (id, project_id, name, secret_hash, scopes, campaign_ids, expires_at, rate, burst)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (secret_hash) DO NOTHING",
        uuid.uuid4(),
        project_id,
        name,
        hash_secret(secret),
        sorted(scopes),
        sorted(campaign_ids),
        expires_at,
        limit.rate,
        limit.burst,
    )
    row = await pool.fetchrow(
        f"SELECT {_COLUMNS} FROM api_key WHERE secret_hash = $1",  # noqa: S608 - constants only
        hash_secret(secret),
    )
    assert row is not None  # noqa: S101 - just written, and keys are never deleted
    return _key(row)


async def find_key(pool: Pool, secret: str) -> ApiKey | None:
    """Return the key with this secret, also when it is revoked."""
    row = await pool.fetchrow(
        f"SELECT {_COLUMNS} FROM api_key WHERE secret_hash = $1",  # noqa: S608 - constants only
        hash_secret(secret),
    )
    return _key(row) if row else None


async def list_keys(pool: Pool, project_id: int | None = None) -> list[ApiKey]:
    """Return the keys of a project, or of all, the newest first."""
    rows = await pool.fetch(
        f"SELECT {_COLUMNS} FROM api_key WHERE $1::int8 IS NULL OR project_id = $1"  # noqa: S608 - constants only
        " ORDER BY created_at DESC, id",
        project_id,
    )
    return [_key(row) for row in rows]


async def revoke_key(pool: Pool, key_id: uuid.UUID, project_id: int | None = None) -> ApiKey | None:
    """Revoke a key (of the project, if given); return it, or None if there is none. Twice is the same."""
    row = await pool.fetchrow(
        "UPDATE api_key SET revoked_at = coalesce(revoked_at, now())"  # noqa: S608 - constants only
        f" WHERE id = $1 AND ($2::int8 IS NULL OR project_id = $2) RETURNING {_COLUMNS}",
        key_id,
        project_id,
    )
    return _key(row) if row else None


async def limit_key(pool: Pool, key_id: uuid.UUID, limit: OwnLimit) -> ApiKey | None:
    """Give a key another limit; return it, or None if there is none."""
    row = await pool.fetchrow(
        f"UPDATE api_key SET rate = $2, burst = $3 WHERE id = $1 RETURNING {_COLUMNS}",  # noqa: S608 - constants only
        key_id,
        limit.rate,
        limit.burst,
    )
    return _key(row) if row else None


async def list_projects(pool: Pool) -> list[Project]:
    """Return all projects, by name."""
    rows = await pool.fetch(f"SELECT {_PROJECT_COLUMNS} FROM project ORDER BY name")  # noqa: S608 - constants only
    return [_project(row) for row in rows]


async def limit_project(pool: Pool, name: str, limit: OwnLimit) -> Project | None:
    """Give a project another limit; return it, or None if there is none."""
    row = await pool.fetchrow(
        f"UPDATE project SET rate = $2, burst = $3 WHERE name = $1 RETURNING {_PROJECT_COLUMNS}",  # noqa: S608 - constants only
        name,
        limit.rate,
        limit.burst,
    )
    return _project(row) if row else None


async def set_timezone(pool: Pool, name: str, timezone: str) -> Project | None:
    """Give a project another time zone (IANA); return it, or None if there is none."""
    row = await pool.fetchrow(
        f"UPDATE project SET timezone = $2 WHERE name = $1 RETURNING {_PROJECT_COLUMNS}",  # noqa: S608 - constants only
        name,
        timezone,
    )
    return _project(row) if row else None


async def all_projects(connection: Connection) -> Mapping[int, Project]:
    """Return all projects by id."""
    rows = await connection.fetch(f"SELECT {_PROJECT_COLUMNS} FROM project")  # noqa: S608 - constants only
    return {row["id"]: _project(row) for row in rows}


def _project(row: asyncpg.Record) -> Project:
    return Project(
        id=row["id"],
        name=row["name"],
        created_at=row["created_at"],
        limit=OwnLimit(row["rate"], row["burst"]),
        timezone=row["timezone"],
    )
