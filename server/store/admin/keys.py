"""API keys in the database."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterable, Mapping

import asyncpg

from ...domain.key import ApiKey, Scope, hash_secret
from ...domain.limit import NO_OWN_LIMIT, OwnLimit
from ...errors import KeyNotFound
from ..pool import Connection, Pool
from ..sql import load

__all__ = ["all_by_hash", "create_key", "limit_key", "list_keys", "revoke_key"]

_SQL = load("admin/keys.sql")


async def all_by_hash(connection: Connection) -> Mapping[bytes, ApiKey]:
    """Return all keys, including those revoked in the last 90 days, by the SHA-256 of their secrets."""
    return {row["secret_hash"]: _key(row) for row in await connection.fetch(*_SQL["keys_by_hash"]())}


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
    """Store a key under the hash of its secret. If the secret has a key already, return that one."""
    secret_hash = hash_secret(secret)
    await pool.execute(
        *_SQL["create"](
            id=uuid.uuid4(),
            project_id=project_id,
            name=name,
            secret_hash=secret_hash,
            scopes=sorted(scopes),
            campaign_ids=sorted(campaign_ids),
            expires_at=expires_at,
            rate=limit.rate,
            burst=limit.burst,
        )
    )
    row = await pool.fetchrow(*_SQL["find_by_hash"](secret_hash=secret_hash))
    assert row is not None  # noqa: S101 - just written, and keys are never deleted
    return _key(row)


async def list_keys(pool: Pool, project_id: int | None = None) -> list[ApiKey]:
    """Return the keys of one project, or of all, the newest first."""
    return [_key(row) for row in await pool.fetch(*_SQL["list"](project_id=project_id))]


async def revoke_key(pool: Pool | Connection, key_id: uuid.UUID, project_id: int | None = None) -> ApiKey:
    """Revoke a key and return it. A key that is revoked already stays as it is.

    Raises:
        KeyNotFound: No key has this id, or it belongs to another project than `project_id`.
    """
    return _found(await pool.fetchrow(*_SQL["revoke"](id=key_id, project_id=project_id)), key_id)


async def limit_key(pool: Pool, key_id: uuid.UUID, limit: OwnLimit) -> ApiKey:
    """Change the limit of a key and return the key.

    Raises:
        KeyNotFound: No key has this id.
    """
    row = await pool.fetchrow(*_SQL["limit"](id=key_id, rate=limit.rate, burst=limit.burst))
    return _found(row, key_id)


def _found(row: asyncpg.Record | None, key_id: uuid.UUID) -> ApiKey:
    if row is None:
        raise KeyNotFound.of(key_id)
    return _key(row)


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
