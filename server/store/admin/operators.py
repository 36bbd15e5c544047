"""Admin keys and sessions in the database."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Collection, Iterable
from typing import TypeAlias

import asyncpg
import msgspec

from ...domain.identity import Identity
from ...domain.key import hash_secret, hint_of
from ...domain.operator import (
    MAX_SESSIONS,
    MAX_SIGN_INS,
    SESSION_IDLE,
    SESSION_LIFETIME,
    SIGN_INS_WINDOW,
    Actor,
    ActorKind,
    AdminKey,
    Credential,
    Grant,
    Session,
)
from ...errors import RateLimited
from ..pool import Connection, Pool
from ..sql import load

__all__ = [
    "create_key",
    "create_session",
    "find_credentials",
    "find_key",
    "find_session",
    "list_keys",
    "list_sessions",
    "revoke_key",
    "revoke_session",
    "touch",
]

_SQL = load("admin/operators.sql")
_DELETED_AT_ONCE = 100
Place: TypeAlias = tuple[dt.datetime, uuid.UUID]
"""The time and the ID of the last row of a page."""


async def find_credentials(pool: Pool, secrets: Iterable[str]) -> dict[str, Credential]:
    """Return what secrets of admin keys and tokens of sessions authenticate now; nothing for others."""
    by_hash = {hash_secret(one): one for one in secrets}
    sessions = [hashed for hashed, one in by_hash.items() if one.startswith("as_")]
    keys = [hashed for hashed, one in by_hash.items() if not one.startswith("as_")]
    found = {}
    if sessions:
        for row in await pool.fetch(*_SQL["sessions_by_hash"](hashes=sessions, idle=SESSION_IDLE)):
            found[by_hash[row["hash"]]] = _of_session(_session(row))
    if keys:
        for row in await pool.fetch(*_SQL["keys_by_hash"](hashes=keys)):
            found[by_hash[row["hash"]]] = _of_key(_key(row))
    return found


async def touch(pool: Pool, actor: Actor) -> None:
    """Record that the actor's session or key was used now."""
    if actor.session_id:
        await pool.execute(*_SQL["touch_session"](id=actor.session_id))
    elif actor.key_id:
        await pool.execute(*_SQL["touch_key"](id=actor.key_id))


async def create_key(
    connection: Connection,
    secret: str,
    *,
    name: str,
    grants: Iterable[Grant],
    created_by: str,
    expires_at: dt.datetime,
) -> AdminKey:
    """Store an admin key under the hash of its secret, and return it."""
    row = await connection.fetchrow(
        *_SQL["create_key"](
            id=uuid.uuid4(),
            name=name,
            hint=hint_of(secret),
            secret_hash=hash_secret(secret),
            grants=_encoded(grants),
            created_by=created_by,
            expires_at=expires_at,
        )
    )
    assert row is not None  # noqa: S101 - INSERT … RETURNING returns the row or raises
    return _key(row)


async def list_keys(
    pool: Pool, managed: Collection[int] | None, *, after: Place | None, limit: int
) -> list[AdminKey]:
    """Return the admin keys that an admin of the `managed` projects (None: all) manages, the newest first."""
    before, before_id = after or (None, None)
    rows = await pool.fetch(
        *_SQL["list_keys"](managed=_ids(managed), before=before, before_id=before_id, limit=limit)
    )
    return [_key(row) for row in rows]


async def find_key(
    database: Pool | Connection, key_id: uuid.UUID, managed: Collection[int] | None, *, lock: bool = False
) -> AdminKey | None:
    """Return an admin key, or None if an admin of the `managed` projects does not manage it.

    Args:
        database: The database.
        key_id: The key.
        managed: The projects; None for all.
        lock: Whether to lock the row until the end of the transaction.
    """
    statement = _SQL["lock_key" if lock else "find_key"]
    row = await database.fetchrow(*statement(id=key_id, managed=_ids(managed)))
    return _key(row) if row else None


async def revoke_key(connection: Connection, key_id: uuid.UUID) -> AdminKey:
    """Revoke an existing admin key and return it. A key that is revoked already stays as it is."""
    row = await connection.fetchrow(*_SQL["revoke_key"](id=key_id))
    assert row is not None  # noqa: S101 - keys are never deleted
    return _key(row)


async def create_session(
    connection: Connection,
    token: str,
    *,
    name: str,
    grants: Iterable[Grant],
    key_id: uuid.UUID | None = None,
    user_agent: str,
    identity: Identity | None = None,
    token_used: bytes | None = None,
) -> Session | None:
    """Store a session under the hash of its token, and return it. The owner's oldest beyond MAX_SESSIONS end.

    Args:
        connection: The connection, in a transaction.
        token: The session's token.
        name: The name of the person.
        grants: What the session may do.
        key_id: The admin key that starts it.
        user_agent: The browser.
        identity: The person whom the OpenID provider identified.
        token_used: The hash of the ID token that starts it.

    Returns:
        The session; None if the ID token has started one before.

    Raises:
        RateLimited: The owner has started MAX_SIGN_INS sessions within an hour.
    """
    owner = key_id or (identity.person_id if identity else None)
    await connection.execute(*_SQL["lock_owner"](owner=owner))
    await _require_rate(connection, owner)
    row = await connection.fetchrow(
        *_SQL["create_session"](
            id=uuid.uuid4(),
            token_hash=hash_secret(token),
            name=name,
            grants=_encoded(grants),
            key_id=key_id,
            user_agent=user_agent,
            expires_at=dt.datetime.now(dt.UTC) + SESSION_LIFETIME,
            identity=msgspec.json.encode(identity).decode() if identity else None,
            token_used=token_used,
            owner=owner,
        )
    )
    await connection.execute(*_SQL["end_oldest_sessions"](owner=owner, newest=MAX_SESSIONS))
    await connection.execute(*_SQL["delete_ended_sessions"](limit=_DELETED_AT_ONCE))
    return _session(row) if row else None


async def _require_rate(connection: Connection, owner: uuid.UUID | None) -> None:
    """Check that an owner may start another session.

    Raises:
        RateLimited: It has started too many.
    """
    statement = _SQL["recent_sign_ins"](owner=owner, window=SIGN_INS_WINDOW, most=MAX_SIGN_INS)
    recent = await connection.fetchrow(*statement)
    if recent and recent["started"] >= MAX_SIGN_INS:
        wait = max(1.0, recent["wait"])
        raise RateLimited(
            wait,
            f"At most {MAX_SIGN_INS} sessions of one admin key or person may start within an hour; try again "
            f"in {wait:.0f} s. Programs call the admin API with their key, without a session.",
        )


async def list_sessions(
    pool: Pool, managed: Collection[int] | None, *, after: Place | None, limit: int
) -> list[Session]:
    """Return the current sessions that an admin of the `managed` projects (None: all) manages, as above."""
    before, before_id = after or (None, None)
    chosen = {"managed": _ids(managed), "before": before, "before_id": before_id}
    rows = await pool.fetch(*_SQL["list_sessions"](**chosen, idle=SESSION_IDLE, limit=limit))
    return [_session(row) for row in rows]


async def find_session(
    database: Pool | Connection,
    session_id: uuid.UUID,
    managed: Collection[int] | None,
    *,
    own: uuid.UUID | None = None,
) -> Session | None:
    """Return a session that has not ended, or None.

    Args:
        database: The database.
        session_id: The session.
        managed: The projects, None for all, whose admin manages everything that the session may do.
        own: A session that is returned in any case.
    """
    chosen = {"id": session_id, "managed": _ids(managed), "own": own}
    row = await database.fetchrow(*_SQL["find_session"](**chosen, idle=SESSION_IDLE))
    return _session(row) if row else None


async def revoke_session(connection: Connection, session_id: uuid.UUID) -> bool:
    """End a session; return whether it had not ended before."""
    return await connection.fetchval(*_SQL["revoke_session"](id=session_id)) is not None


def _ids(projects: Collection[int] | None) -> list[int] | None:
    return None if projects is None else sorted(projects)


def _encoded(grants: Iterable[Grant]) -> str:
    return msgspec.json.encode(list(grants)).decode()


def _decoded(grants: str) -> tuple[Grant, ...]:
    return msgspec.json.decode(grants, type=tuple[Grant, ...])


def _of_key(key: AdminKey) -> Credential:
    actor = Actor(ActorKind.ROBOT, key.name, key.grants, key_id=key.id, expires_at=key.expires_at)
    return Credential(actor, key.used_at)


def _of_session(session: Session) -> Credential:
    actor = Actor(
        ActorKind.PERSON,
        session.name,
        session.grants,
        key_id=session.key_id,
        session_id=session.id,
        expires_at=session.expires_at,
        person_id=session.identity.person_id if session.identity else None,
    )
    return Credential(actor, session.used_at)


def _key(row: asyncpg.Record) -> AdminKey:
    values = {name: value for name, value in row.items() if name != "hash"}
    return AdminKey(**{**values, "grants": _decoded(row["grants"])})


def _session(row: asyncpg.Record) -> Session:
    given = row["identity"]
    identity = msgspec.json.decode(given, type=Identity) if given else None
    values = {name: value for name, value in row.items() if name != "hash"}
    return Session(**{**values, "grants": _decoded(row["grants"]), "identity": identity})
