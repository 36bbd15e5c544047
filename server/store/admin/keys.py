"""API keys in the database."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Collection, Iterable, Mapping

import asyncpg

from ...domain.key import WARNING, ApiKey, Scope, hash_secret, hint_of, is_test_secret
from ...domain.limit import NO_OWN_LIMIT, OwnLimit
from ...errors import KeyNotFound
from ..pool import Connection, Pool
from ..sql import load

__all__ = [
    "all_by_hash",
    "create_key",
    "find_key",
    "last_use",
    "list_keys",
    "list_page",
    "move_certificates",
    "note_use",
    "revoke_key",
    "set_certificates",
    "update_key",
]

_SQL = load("admin/keys.sql")


async def all_by_hash(connection: Connection) -> Mapping[bytes, ApiKey]:
    """Return all keys, including those revoked in the last 90 days, by the SHA-256 of their secrets."""
    return {row["secret_hash"]: _key(row) for row in await connection.fetch(*_SQL["keys_by_hash"]())}


async def create_key(
    database: Pool | Connection,
    secret: str,
    *,
    project_id: int,
    name: str,
    scopes: Iterable[Scope],
    campaign_ids: Iterable[int] = (),
    expires_at: dt.datetime | None = None,
    limit: OwnLimit = NO_OWN_LIMIT,
    created_by: str = "",
) -> ApiKey:
    """Store a key under the hash of its secret. If the secret has a key already, return that one."""
    secret_hash = hash_secret(secret)
    await database.execute(
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
            hint=hint_of(secret),
            created_by=created_by,
            test=is_test_secret(secret),
        )
    )
    row = await database.fetchrow(*_SQL["find_by_hash"](secret_hash=secret_hash))
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


async def find_key(database: Pool | Connection, key_id: uuid.UUID, *, lock: bool = False) -> ApiKey:
    """Return a key.

    Args:
        database: The database.
        key_id: The key.
        lock: Whether to lock the row until the end of the transaction.

    Raises:
        KeyNotFound: No key has this id.
    """
    return _found(await database.fetchrow(*_SQL["lock" if lock else "find"](id=key_id)), key_id)


async def list_page(
    pool: Pool,
    projects: Collection[int] | None,
    state: str | None,
    *,
    test: bool | None,
    before: tuple[dt.datetime, uuid.UUID] | None,
    limit: int,
) -> list[ApiKey]:
    """Return keys, the newest first.

    Args:
        pool: The database.
        projects: Only keys of these projects.
        state: Only keys in this state, a `KeyState`, or `usable` for those that are active or expiring.
        test: Only test keys, or only live keys.
        before: Creation time and id of a key: only older ones.
        limit: The maximum number of keys.
    """
    statement = _SQL["page"](
        projects=None if projects is None else sorted(projects),
        state=state,
        test=test,
        warning=WARNING,
        before=before and before[0],
        before_id=before and before[1],
        limit=limit,
    )
    return [_key(row) for row in await pool.fetch(*statement)]


async def update_key(database: Pool | Connection, key: ApiKey) -> ApiKey:
    """Store the name, the expiry, the limit and the successor of an existing key, and return it."""
    row = await database.fetchrow(
        *_SQL["update"](
            id=key.id,
            name=key.name,
            expires_at=key.expires_at,
            rate=key.limit.rate,
            burst=key.limit.burst,
            successor_id=key.successor_id,
        )
    )
    return _found(row, key.id)


async def set_certificates(
    connection: Connection, key_id: uuid.UUID, wanted: Collection[str]
) -> dict[str, uuid.UUID]:
    """Attach these certificates to a key, instead of those that it has.

    Args:
        connection: The database, in a transaction.
        key_id: The key.
        wanted: The certificates.

    Returns:
        Those that belong to another key that works, and this key; they are not attached.
    """
    ordered = sorted(wanted)  # so that concurrent calls cannot wait for each other
    await connection.execute(*_SQL["detach"](id=key_id, wanted=ordered))
    await connection.execute(*_SQL["attach"](id=key_id, wanted=ordered))
    rows = await connection.fetch(*_SQL["taken"](id=key_id, wanted=ordered))
    return {row["identity"]: row["key_id"] for row in rows}


async def move_certificates(connection: Connection, key_id: uuid.UUID, successor_id: uuid.UUID) -> None:
    """Attach the certificates of a key to its successor."""
    await connection.execute(*_SQL["move_certificates"](id=key_id, successor_id=successor_id))


async def last_use(database: Pool | Connection, ids: Iterable[uuid.UUID]) -> Mapping[uuid.UUID, dt.datetime]:
    """Return when keys were last used, by id; keys that never were are missing."""
    rows = await database.fetch(*_SQL["last_use"](ids=list(ids)))
    return {row["key_id"]: row["used_at"] for row in rows}


async def note_use(pool: Pool, ids: Iterable[uuid.UUID]) -> None:
    """Record that keys were used in this minute."""
    await pool.execute(*_SQL["note_use"](ids=sorted(ids)))


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
        hint=row["hint"],
        created_by=row["created_by"],
        successor_id=row["successor_id"],
        certificates=tuple(row["certificates"]),
        test=row["test"],
    )
