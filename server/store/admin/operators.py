"""Admin keys and sessions in the database."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterable

import asyncpg
import msgspec

from ...domain.identity import Identity
from ...domain.key import hash_secret, hint_of
from ...domain.operator import (
    SESSION_IDLE,
    SESSION_LIFETIME,
    Actor,
    ActorKind,
    AdminKey,
    Credential,
    Grant,
    Session,
)
from ..pool import Connection, Pool
from ..sql import load

__all__ = [
    "create_key",
    "create_session",
    "find_credential",
    "find_key",
    "find_session",
    "list_keys",
    "list_sessions",
    "revoke_key",
    "revoke_session",
    "touch",
]

_SQL = load("admin/operators.sql")


async def find_credential(pool: Pool, secret: str) -> Credential | None:
    """Return what the secret of an admin key or the token of a session authenticates now, or None."""
    hashed = hash_secret(secret)
    if secret.startswith("as_"):
        row = await pool.fetchrow(*_SQL["session_by_hash"](hash=hashed, idle=SESSION_IDLE))
        return _of_session(_session(row)) if row else None
    row = await pool.fetchrow(*_SQL["key_by_hash"](hash=hashed))
    return _of_key(_key(row)) if row else None


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


async def list_keys(pool: Pool) -> list[AdminKey]:
    """Return all admin keys, the newest first."""
    return [_key(row) for row in await pool.fetch(*_SQL["list_keys"]())]


async def find_key(connection: Connection, key_id: uuid.UUID) -> AdminKey | None:
    """Return an admin key, locked until the end of the transaction, or None."""
    row = await connection.fetchrow(*_SQL["find_key"](id=key_id))
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
    """Store a session under the hash of its token, and return it.

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
    """
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
        )
    )
    return _session(row) if row else None


async def list_sessions(pool: Pool) -> list[Session]:
    """Return the sessions that have not ended, the newest first."""
    return [_session(row) for row in await pool.fetch(*_SQL["list_sessions"](idle=SESSION_IDLE))]


async def find_session(connection: Connection, session_id: uuid.UUID) -> Session | None:
    """Return a session that has not ended, or None."""
    row = await connection.fetchrow(*_SQL["find_session"](id=session_id, idle=SESSION_IDLE))
    return _session(row) if row else None


async def revoke_session(connection: Connection, session_id: uuid.UUID) -> bool:
    """End a session; return whether it had not ended before."""
    return await connection.fetchval(*_SQL["revoke_session"](id=session_id)) is not None


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
    )
    return Credential(actor, session.used_at)


def _key(row: asyncpg.Record) -> AdminKey:
    return AdminKey(**{**row, "grants": _decoded(row["grants"])})


def _session(row: asyncpg.Record) -> Session:
    given = row["identity"]
    identity = msgspec.json.decode(given, type=Identity) if given else None
    return Session(**{**row, "grants": _decoded(row["grants"]), "identity": identity})
