"""AdminKeyService."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterable, Mapping

from clarion.admin.v1 import operator_pb2 as pb
from clarion.admin.v1 import operator_pb2_grpc

from ..api.proto_messages import timestamp
from ..domain.operator import (
    AdminKey,
    Grant,
    Role,
    may_grant,
    new_admin_secret,
)
from ..errors import InvalidRequest, ProjectNotFound, Violation
from ..intake.rules import require_valid
from ..store.admin import operators as store
from ..store.admin.projects import find_project, project_names
from ..store.pool import Pool, reached
from .call import AdminCall
from .change import Change, changing
from .errors import AdminKeyNotFound, RoleMissing
from .grants import grant_messages, manages, only_project
from .paging import Place, page_of, page_start

__all__ = ["AdminKeyServicer"]

_DEFAULT_DAYS = 90
_DEFAULT_PAGE = 50


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
        """Return a page of the admin keys that the caller may manage."""
        require_valid(request)
        size = request.page_size or _DEFAULT_PAGE
        start = page_start(request, Place)
        async with reached():
            names = await project_names(self._pool)
            found = await store.list_keys(self._pool, call.visible, after=start, limit=size + 1)
        page, token = page_of(request, found, size, lambda one: Place(one.created_at, one.id))
        return pb.ListAdminKeysResponse(admin_keys=[_key(one, names) for one in page], next_page_token=token)

    async def GetAdminKey(  # noqa: N802 - gRPC's name
        self, request: pb.GetAdminKeyRequest, call: AdminCall
    ) -> pb.GetAdminKeyResponse:
        """Return an admin key that the caller may manage."""
        require_valid(request)
        async with reached():
            names = await project_names(self._pool)
            key = await store.find_key(self._pool, uuid.UUID(request.admin_key_id), call.visible)
        if key is None:
            raise AdminKeyNotFound.of(request.admin_key_id)
        return pb.GetAdminKeyResponse(admin_key=_key(key, names))

    async def CreateAdminKey(  # noqa: N802 - gRPC's name
        self, request: pb.CreateAdminKeyRequest, call: AdminCall
    ) -> pb.CreateAdminKeyResponse:
        """Create an admin key."""
        require_valid(request)
        secret = new_admin_secret()
        expires_at = dt.datetime.now(dt.UTC) + dt.timedelta(days=request.expires_in_days or _DEFAULT_DAYS)
        async with changing(self._pool, call) as change:
            grants = await _grants(change, request.grants)
            if not manages(call.actor, grants) or not may_grant(call.actor, grants):
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
            project_id, resource = only_project(key.grants), f"admin_key/{key.id}"
            await change.record("admin_key.create", resource, project_id=project_id, after=after)
        return pb.CreateAdminKeyResponse(admin_key=_key(key, names), secret=secret)

    async def RevokeAdminKey(  # noqa: N802 - gRPC's name
        self, request: pb.RevokeAdminKeyRequest, call: AdminCall
    ) -> pb.RevokeAdminKeyResponse:
        """Revoke an admin key, and so the sessions that it started."""
        require_valid(request)
        async with changing(self._pool, call) as change:
            key_id = uuid.UUID(request.admin_key_id)
            key = await store.find_key(change.connection, key_id, call.visible, lock=True)
            if key is None:
                raise AdminKeyNotFound.of(request.admin_key_id)
            revoked = await store.revoke_key(change.connection, key.id)
            names = await project_names(change.connection)
            if key.revoked_at is None:
                before, after = _values(key, names), _values(revoked, names)
                await change.record(
                    "admin_key.revoke",
                    f"admin_key/{key.id}",
                    project_id=only_project(key.grants),
                    before=before,
                    after=after,
                )
        return pb.RevokeAdminKeyResponse(admin_key=_key(revoked, names))


async def _grants(change: Change, messages: Iterable[pb.Grant]) -> list[Grant]:
    """Return the grants with the IDs of their projects.

    Raises:
        InvalidRequest: A project does not exist, or the caller may not see it.
    """
    grants = []
    for place, message in enumerate(messages):
        project_id = None
        if message.project:
            project = await find_project(change.connection, message.project)
            if project is None or not change.call.may_see(project.id):
                description = str(ProjectNotFound.of(message.project))
                raise InvalidRequest([Violation(f"grants[{place}].project", description, "UNKNOWN_VALUE")])
            project_id = project.id
        grants.append(Grant(Role(message.role), project_id))
    return grants


def _key(key: AdminKey, names: Mapping[int, str]) -> pb.AdminKey:
    return pb.AdminKey(
        admin_key_id=str(key.id),
        display_name=key.name,
        secret_hint=key.hint,
        grants=grant_messages(key.grants, names),
        created_by=key.created_by,
        create_time=timestamp(key.created_at),
        expire_time=timestamp(key.expires_at),
        revoke_time=timestamp(key.revoked_at),
        last_use_time=timestamp(key.used_at),
    )


def _values(key: AdminKey, names: Mapping[int, str]) -> dict[str, object]:
    grants = [f"{one.role}@{names[one.project_id] if one.project_id else '*'}" for one in key.grants]
    return {
        "name": key.name,
        "grants": grants,
        "expires_at": key.expires_at,
        "revoked_at": key.revoked_at,
    }
