"""AdminKeyService and SessionService."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterable, Mapping

from clarion.admin.v1 import operator_pb2 as pb
from clarion.admin.v1 import operator_pb2_grpc

from ..api.proto_messages import timestamp
from ..domain.operator import (
    Actor,
    AdminKey,
    Grant,
    Role,
    Session,
    may_grant,
    new_admin_secret,
    new_session_token,
)
from ..errors import (
    AdminKeyNotFound,
    CredentialsInvalid,
    InvalidRequest,
    ProjectNotFound,
    RoleMissing,
    SessionNotFound,
    Violation,
)
from ..intake.rules import require_valid
from ..store.admin import operators as store
from ..store.admin.projects import find_project, project_names
from ..store.pool import Connection, Pool, reached
from .call import AdminCall
from .change import changing

__all__ = ["AdminKeyServicer", "SessionServicer"]

_DEFAULT_DAYS = 90


class AdminKeyServicer(operator_pb2_grpc.AdminKeyServiceServicer):
    """Manages admin keys. A caller needs the role admin for everything that a key grants.

    Args:
        pool: The database.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def ListAdminKeys(  # noqa: N802 - gRPC's name
        self, request: pb.ListAdminKeysRequest, call: AdminCall
    ) -> pb.ListAdminKeysResponse:
        """Return the admin keys that the caller may manage."""
        async with reached():
            names = await project_names(self._pool)
            keys = await store.list_keys(self._pool)
        shown = [_key(key, names) for key in keys if _manages(call.actor, key.grants)]
        return pb.ListAdminKeysResponse(admin_keys=shown)

    async def CreateAdminKey(  # noqa: N802 - gRPC's name
        self, request: pb.CreateAdminKeyRequest, call: AdminCall
    ) -> pb.CreateAdminKeyResponse:
        """Create an admin key."""
        require_valid(request)
        secret = new_admin_secret()
        expires_at = dt.datetime.now(dt.UTC) + dt.timedelta(days=request.expires_in_days or _DEFAULT_DAYS)
        async with changing(self._pool, call) as change:
            grants = await _grants(change.connection, request.grants)
            if not _manages(call.actor, grants) or not may_grant(call.actor, grants):
                raise RoleMissing("You cannot grant more than you have.", metadata={"role": Role.ADMIN.value})
            key = await store.create_key(
                change.connection,
                secret,
                name=request.display_name,
                grants=grants,
                created_by=call.actor.name,
                expires_at=expires_at,
            )
            names = await project_names(change.connection)
            after = _values(key, names)
            await change.record("admin_key.create", f"admin_key/{key.id}", project_id=None, after=after)
        return pb.CreateAdminKeyResponse(admin_key=_key(key, names), secret=secret)

    async def RevokeAdminKey(  # noqa: N802 - gRPC's name
        self, request: pb.RevokeAdminKeyRequest, call: AdminCall
    ) -> pb.RevokeAdminKeyResponse:
        """Revoke an admin key, and so the sessions that it started."""
        require_valid(request)
        async with changing(self._pool, call) as change:
            key = await store.find_key(change.connection, uuid.UUID(request.admin_key_id))
            if key is None or not _manages(call.actor, key.grants):
                raise AdminKeyNotFound.of(request.admin_key_id)
            revoked = await store.revoke_key(change.connection, key.id)
            names = await project_names(change.connection)
            if key.revoked_at is None:
                before, after = _values(key, names), _values(revoked, names)
                resource = f"admin_key/{key.id}"
                await change.record("admin_key.revoke", resource, project_id=None, before=before, after=after)
        return pb.RevokeAdminKeyResponse(admin_key=_key(revoked, names))


class SessionServicer(operator_pb2_grpc.SessionServiceServicer):
    """Signs people in and out.

    Args:
        pool: The database.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def GetCaller(  # noqa: N802 - gRPC's name
        self, request: pb.GetCallerRequest, call: AdminCall
    ) -> pb.GetCallerResponse:
        """Return who the caller is."""
        actor = call.actor
        async with reached():
            names = await project_names(self._pool)
        return pb.GetCallerResponse(
            kind=actor.kind.value,
            display_name=actor.name,
            grants=_grant_messages(actor.grants, names),
            session_id=str(actor.session_id or ""),
            expire_time=timestamp(actor.expires_at),
        )

    async def CreateSession(  # noqa: N802 - gRPC's name
        self, request: pb.CreateSessionRequest, call: AdminCall
    ) -> pb.CreateSessionResponse:
        """Start a session with the rights of the caller's admin key."""
        require_valid(request)
        actor = call.actor
        if actor.key_id is None or actor.session_id is not None:
            raise CredentialsInvalid("A session starts with an admin key, not with another session.")
        token = new_session_token()
        async with changing(self._pool, call) as change:
            session = await store.create_session(
                change.connection,
                token,
                name=actor.name,
                grants=actor.grants,
                key_id=actor.key_id,
                user_agent=request.user_agent,
            )
            names = await project_names(change.connection)
            await change.record("session.create", f"session/{session.id}", project_id=None)
        return pb.CreateSessionResponse(session=_session(session, names), token=token)

    async def ListSessions(  # noqa: N802 - gRPC's name
        self, request: pb.ListSessionsRequest, call: AdminCall
    ) -> pb.ListSessionsResponse:
        """Return the current sessions that the caller may end."""
        async with reached():
            names = await project_names(self._pool)
            sessions = await store.list_sessions(self._pool)
        shown = [_session(one, names) for one in sessions if _manages(call.actor, one.grants)]
        return pb.ListSessionsResponse(sessions=shown)

    async def RevokeSession(  # noqa: N802 - gRPC's name
        self, request: pb.RevokeSessionRequest, call: AdminCall
    ) -> pb.RevokeSessionResponse:
        """End a session: the caller's own, or one that the caller may manage."""
        require_valid(request)
        async with changing(self._pool, call) as change:
            session = await store.find_session(change.connection, uuid.UUID(request.session_id))
            is_own = session is not None and session.id == call.actor.session_id
            if session is None or not (is_own or _manages(call.actor, session.grants)):
                raise SessionNotFound.of(request.session_id)
            await store.revoke_session(change.connection, session.id)
            before = {"name": session.name}
            await change.record("session.revoke", f"session/{session.id}", project_id=None, before=before)
        return pb.RevokeSessionResponse()


def _manages(actor: Actor, grants: Iterable[Grant]) -> bool:
    """Return whether an actor is an admin of everything that the grants cover."""
    return all(actor.may(Role.ADMIN, grant.project_id) for grant in grants)


async def _grants(connection: Connection, messages: Iterable[pb.Grant]) -> list[Grant]:
    """Return the grants with the IDs of their projects.

    Raises:
        InvalidRequest: A project does not exist.
    """
    grants = []
    for place, message in enumerate(messages):
        project_id = None
        if message.project:
            project = await find_project(connection, message.project)
            if project is None:
                description = str(ProjectNotFound.of(message.project))
                raise InvalidRequest([Violation(f"grants[{place}].project", description, "UNKNOWN_VALUE")])
            project_id = project.id
        grants.append(Grant(Role(message.role), project_id))
    return grants


def _grant_messages(grants: Iterable[Grant], names: Mapping[int, str]) -> list[pb.Grant]:
    return [
        pb.Grant(role=grant.role.value, project=names[grant.project_id] if grant.project_id else "")
        for grant in grants
    ]


def _key(key: AdminKey, names: Mapping[int, str]) -> pb.AdminKey:
    return pb.AdminKey(
        admin_key_id=str(key.id),
        display_name=key.name,
        secret_hint=key.hint,
        grants=_grant_messages(key.grants, names),
        created_by=key.created_by,
        create_time=timestamp(key.created_at),
        expire_time=timestamp(key.expires_at),
        revoke_time=timestamp(key.revoked_at),
        last_use_time=timestamp(key.used_at),
    )


def _session(session: Session, names: Mapping[int, str]) -> pb.Session:
    return pb.Session(
        session_id=str(session.id),
        display_name=session.name,
        grants=_grant_messages(session.grants, names),
        create_time=timestamp(session.created_at),
        expire_time=timestamp(session.expires_at),
        last_use_time=timestamp(session.used_at),
        user_agent=session.user_agent,
    )


def _values(key: AdminKey, names: Mapping[int, str]) -> dict[str, object]:
    grants = [f"{one.role}@{names[one.project_id] if one.project_id else '*'}" for one in key.grants]
    return {
        "name": key.name,
        "grants": grants,
        "expires_at": key.expires_at,
        "revoked_at": key.revoked_at,
    }
