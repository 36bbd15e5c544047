"""Operators, the callers of the admin API: people and robots, with roles for all or for single projects."""

from __future__ import annotations

import datetime as dt
import enum
import re
import uuid
from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from .identity import Identity

__all__ = [
    "ALL_PROJECTS",
    "ANONYMOUS",
    "COMMAND_LINE",
    "Actor",
    "ActorKind",
    "AdminKey",
    "Credential",
    "Grant",
    "Role",
    "Session",
    "credential_from_header",
    "may_grant",
    "new_admin_secret",
    "new_session_token",
]

ALL_PROJECTS = None
SESSION_LIFETIME = dt.timedelta(hours=12)
SESSION_IDLE = dt.timedelta(hours=1)
MAX_SESSIONS = 20
"""Of one admin key, or of one person: more than they have browsers."""
MAX_SIGN_INS = 60
"""Of one admin key or person within SIGN_INS_WINDOW: each is recorded in the audit log, which stays."""
SIGN_INS_WINDOW = dt.timedelta(hours=1)


class Role(enum.StrEnum):
    """What an operator may do. Each role includes those before it."""

    VIEWER = "viewer"
    """Read everything except secrets, the messages of deliveries, and what only admins read."""
    OPERATOR = "operator"
    """Also retry and cancel deliveries, hold and release sending, and change suppressions."""
    AUTHOR = "author"
    """Also change campaigns."""
    ADMIN = "admin"
    """Also manage keys, webhooks, projects and operators; export and erase people; read audit events."""

    @property
    def level(self) -> int:
        """The position in the order of roles."""
        return [*Role].index(self)


class Grant(msgspec.Struct, frozen=True):
    """A role for one project, or for all projects if `project_id` is None."""

    role: Role
    project_id: int | None = ALL_PROJECTS

    def covers(self, role: Role, project_id: int | None) -> bool:
        """Return whether the grant includes a role for a project; None means for all projects."""
        return self.role.level >= role.level and self.project_id in (ALL_PROJECTS, project_id)


class ActorKind(enum.StrEnum):
    """The kind of caller that makes a change."""

    PERSON = "person"
    ROBOT = "robot"
    COMMAND_LINE = "command_line"
    """Someone who runs `clarion` with access to the database."""


@dataclass(frozen=True, slots=True)
class Actor:
    """A caller of the admin API.

    Attributes:
        kind: Whether it is a person, a robot or the command line.
        name: A name for people; it is recorded with each change.
        grants: What the actor may do.
        key_id: The admin key that authenticates it or started its session.
        session_id: Its session.
        expires_at: When the key or the session ends.
        person_id: The person, if they signed in by OpenID Connect.
    """

    kind: ActorKind
    name: str
    grants: tuple[Grant, ...]
    key_id: uuid.UUID | None = None
    session_id: uuid.UUID | None = None
    expires_at: dt.datetime | None = None
    person_id: uuid.UUID | None = None

    @property
    def owner(self) -> uuid.UUID | str:
        """Whose calls are limited together: an admin key, or a person. Names are not unique."""
        return self.key_id or self.person_id or self.name

    def may(self, role: Role, project_id: int | None) -> bool:
        """Return whether the actor has a role for a project; None means for all projects."""
        return any(grant.covers(role, project_id) for grant in self.grants)

    def may_somewhere(self, role: Role) -> bool:
        """Return whether the actor has a role for at least one project."""
        return any(grant.role.level >= role.level for grant in self.grants)

    def projects(self, role: Role) -> frozenset[int] | None:
        """Return the projects for which the actor has a role; None means all projects."""
        found = {grant.project_id for grant in self.grants if grant.role.level >= role.level}
        return None if None in found else frozenset(one for one in found if one is not None)


COMMAND_LINE = (Grant(Role.ADMIN),)
"""The grants of someone with access to the database."""


ANONYMOUS = Actor(ActorKind.PERSON, "anonymous", ())
"""A caller without credentials, such as a person who is about to sign in."""


@dataclass(frozen=True, slots=True)
class AdminKey:
    """An admin key without its secret."""

    id: uuid.UUID
    name: str
    hint: str
    grants: tuple[Grant, ...]
    created_by: str
    created_at: dt.datetime
    expires_at: dt.datetime
    revoked_at: dt.datetime | None = None
    used_at: dt.datetime | None = None


@dataclass(frozen=True, slots=True)
class Session:
    """A session in the portal, without its token."""

    id: uuid.UUID
    name: str
    grants: tuple[Grant, ...]
    created_at: dt.datetime
    expires_at: dt.datetime
    used_at: dt.datetime
    user_agent: str = ""
    key_id: uuid.UUID | None = None
    identity: Identity | None = None


@dataclass(frozen=True, slots=True)
class Credential:
    """What a secret authenticates, as stored: an admin key, or a session that has not ended."""

    actor: Actor
    used_at: dt.datetime | None


def may_grant(actor: Actor, grants: Iterable[Grant]) -> bool:
    """Return whether an actor has everything that it would grant."""
    return all(actor.may(grant.role, grant.project_id) for grant in grants)


_HEADER = re.compile(
    r"bearer +(a[ks]_[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}) *", re.IGNORECASE
)


def credential_from_header(header: str) -> str | None:
    """Return the secret of `Bearer ak_…` or `Bearer as_…` (the scheme in any case), or None if malformed."""
    match = _HEADER.fullmatch(header)
    return match[1] if match else None


def new_admin_secret() -> str:
    """Return the secret of a new admin key, with 122 random bits."""
    return f"ak_{uuid.uuid4()}"


def new_session_token() -> str:
    """Return the token of a new session, with 122 random bits."""
    return f"as_{uuid.uuid4()}"
