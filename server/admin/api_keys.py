"""ApiKeyService of the admin API: the keys with which services trigger campaigns."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import replace

from clarion.admin.v1 import api_key_pb2 as pb
from clarion.admin.v1 import api_key_pb2_grpc

from ..api.proto_messages import timestamp
from ..domain.key import ApiKey, new_secret
from ..errors import InvalidRequest, KeyNotFound, Violation
from ..intake.rules import require_valid
from ..store.admin import keys as store
from ..store.admin.projects import project_names
from ..store.pool import Connection, Pool, reached
from .api_key_fields import changed_key, limit_of, new_key
from .call import AdminCall
from .change import Change, changing
from .errors import WrongState
from .key_certificates import attach, certificates_in
from .masks import fields_to_change
from .moments import overlap_in
from .paging import Place, etag_of, page_of, page_start, require_etag

__all__ = ["ApiKeyServicer"]

_DEFAULT_PAGE = 100
_LIVE, _TEST = "live", "test"
_LONGEST_OVERLAP = dt.timedelta(days=90)
_CHANGEABLE = ("display_name", "expire_time", "requests_per_second", "burst", "certificates")


class ApiKeyServicer(api_key_pb2_grpc.ApiKeyServiceServicer):
    """Manages API keys.

    Args:
        pool: The database.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def ListApiKeys(  # noqa: N802 - gRPC's name
        self, request: pb.ListApiKeysRequest, call: AdminCall
    ) -> pb.ListApiKeysResponse:
        """Return a page of keys."""
        require_valid(request)
        size = request.page_size or _DEFAULT_PAGE
        start = page_start(request, Place)
        async with reached():
            wanted = await call.scope(self._pool, request.project)
            found = await store.list_page(
                self._pool,
                wanted,
                request.key_state or None,
                test=request.kind == _TEST if request.kind else None,
                before=start,
                limit=size + 1,
            )
            page, token = page_of(request, found, size, lambda one: Place(one.created_at, one.id))
            messages = await self._messages(page)
        return pb.ListApiKeysResponse(api_keys=messages, next_page_token=token)

    async def GetApiKey(  # noqa: N802 - gRPC's name
        self, request: pb.GetApiKeyRequest, call: AdminCall
    ) -> pb.GetApiKeyResponse:
        """Return one key."""
        require_valid(request)
        async with reached():
            key = await _find(self._pool, call, request.key_id)
            [message] = await self._messages([key])
        return pb.GetApiKeyResponse(api_key=message)

    async def CreateApiKey(  # noqa: N802 - gRPC's name
        self, request: pb.CreateApiKeyRequest, call: AdminCall
    ) -> pb.CreateApiKeyResponse:
        """Create a key."""
        scopes, expires_at = new_key(request)
        certificates = certificates_in(request.certificates)
        secret = new_secret(test=request.kind == _TEST)
        async with changing(self._pool, call) as change:
            project = await call.project(change.connection, request.project)
            key = await store.create_key(
                change.connection,
                secret,
                project_id=project.id,
                name=request.display_name,
                scopes=scopes,
                campaign_ids=set(request.campaign_ids),
                expires_at=expires_at,
                limit=limit_of(request),
                created_by=call.actor.name,
            )
            key = await attach(change.connection, call, key, certificates)
            await _record(change, "key.create", None, key)
        [message] = await self._messages([key])
        return pb.CreateApiKeyResponse(api_key=message, secret=secret)

    async def UpdateApiKey(  # noqa: N802 - gRPC's name
        self, request: pb.UpdateApiKeyRequest, call: AdminCall
    ) -> pb.UpdateApiKeyResponse:
        """Change the name, the limits, the expiry or the certificates of a key."""
        require_valid(request)
        fields = fields_to_change(request, _CHANGEABLE)
        if "display_name" in fields and not request.display_name:
            raise InvalidRequest([Violation("display_name", "is required, but empty", "REQUIRED")])
        certificates = certificates_in(request.certificates)
        async with changing(self._pool, call) as change:
            before = await _find(change.connection, call, request.key_id, lock=True)
            require_etag(request.etag, _etag(before), f"Key {before.id}")
            if before.revoked_at is not None:
                raise WrongState(f"Key {before.id} is revoked; create another key.")
            after = changed_key(before, request, fields)
            if after != before:
                await store.update_key(change.connection, after)
            if "certificates" in fields:
                after = await attach(change.connection, call, after, certificates)
            if after != before:
                await _record(change, "key.update", before, after)
        [message] = await self._messages([after])
        return pb.UpdateApiKeyResponse(api_key=message)

    async def RotateApiKey(  # noqa: N802 - gRPC's name
        self, request: pb.RotateApiKeyRequest, call: AdminCall
    ) -> pb.RotateApiKeyResponse:
        """Create a successor with the same rights; the old key ends after the overlap."""
        require_valid(request)
        overlap = overlap_in(request, _LONGEST_OVERLAP)
        async with changing(self._pool, call) as change:
            before = await _find(change.connection, call, request.key_id, lock=True)
            secret = new_secret(test=before.test)
            now = dt.datetime.now(dt.UTC)
            _require_rotatable(before, now)
            successor = await _successor(change.connection, before, secret, call.actor.name)
            await store.move_certificates(change.connection, before.id, successor.id)
            successor = replace(successor, certificates=before.certificates)
            ends = now + overlap
            ends = ends if before.expires_at is None else min(before.expires_at, ends)
            after = await store.update_key(
                change.connection, replace(before, expires_at=ends, successor_id=successor.id)
            )
            await _record(change, "key.rotate", before, after)
            await _record(change, "key.create", None, successor)
        new, old = await self._messages([successor, after])
        return pb.RotateApiKeyResponse(api_key=new, previous_key=old, secret=secret)

    async def RevokeApiKey(  # noqa: N802 - gRPC's name
        self, request: pb.RevokeApiKeyRequest, call: AdminCall
    ) -> pb.RevokeApiKeyResponse:
        """Revoke a key. A key that is revoked already stays as it is."""
        require_valid(request)
        async with changing(self._pool, call) as change:
            before = await _find(change.connection, call, request.key_id, lock=True)
            after = await store.revoke_key(change.connection, before.id)
            if before.revoked_at is None:
                await _record(change, "key.revoke", before, after)
        [message] = await self._messages([after])
        return pb.RevokeApiKeyResponse(api_key=message)

    async def _messages(self, keys: Iterable[ApiKey]) -> list[pb.ApiKey]:
        """Return keys as messages, with the names of their projects and the times of their last use."""
        keys = list(keys)
        async with reached():
            names = await project_names(self._pool)
            used = await store.last_use(self._pool, [key.id for key in keys])
        return [_message(key, names, used) for key in keys]


def _require_rotatable(key: ApiKey, now: dt.datetime) -> None:
    """Check that a key works and has no successor, so that a repeated call does not create a third key.

    Raises:
        WrongState: It does not work any more, or has a successor.
    """
    if not key.works_at(now):
        raise WrongState(f"Key {key.id} is {key.state_at(now)}; create another key.")
    if key.successor_id:
        raise WrongState(f"Key {key.id} has been rotated; its successor is key {key.successor_id}.")


async def _successor(connection: Connection, key: ApiKey, secret: str, created_by: str) -> ApiKey:
    """Create a key with the same rights and limits, which expires when this one would have."""
    return await store.create_key(
        connection,
        secret,
        project_id=key.project_id,
        name=key.name,
        scopes=key.scopes,
        campaign_ids=key.campaign_ids,
        expires_at=key.expires_at,
        limit=key.limit,
        created_by=created_by,
    )


async def _find(database: Pool | Connection, call: AdminCall, key_id: str, *, lock: bool = False) -> ApiKey:
    """Return a key for whose project the caller has the role.

    Raises:
        KeyNotFound: The key does not exist, or the caller may not see it.
        RoleMissing: The caller lacks the role.
    """
    key = await store.find_key(database, uuid.UUID(key_id), lock=lock)
    if not call.may_see(key.project_id):
        raise KeyNotFound.of(key_id)
    names = await project_names(database)
    call.require(key.project_id, names[key.project_id])
    return key


async def _record(change: Change, action: str, before: ApiKey | None, after: ApiKey) -> None:
    await change.record(
        action,
        f"key/{after.id}",
        project_id=after.project_id,
        before=_values(before) if before else None,
        after=_values(after),
    )


def _values(key: ApiKey) -> dict[str, object]:
    return {
        "display_name": key.name,
        "kind": _TEST if key.test else _LIVE,
        "scopes": sorted(key.scopes),
        "campaign_ids": sorted(key.campaign_ids),
        "expire_time": key.expires_at,
        "revoke_time": key.revoked_at,
        "requests_per_second": key.limit.rate,
        "burst": key.limit.burst,
        "successor_id": key.successor_id,
        "certificates": key.certificates,
    }


def _etag(key: ApiKey) -> str:
    return etag_of(_values(key))


def _message(key: ApiKey, names: Mapping[int, str], used: Mapping[uuid.UUID, dt.datetime]) -> pb.ApiKey:
    return pb.ApiKey(
        key_id=str(key.id),
        project=names[key.project_id],
        kind=_TEST if key.test else _LIVE,
        display_name=key.name,
        secret_hint=key.hint,
        scopes=sorted(key.scopes),
        campaign_ids=sorted(key.campaign_ids),
        key_state=key.state_at(dt.datetime.now(dt.UTC)).value,
        created_by=key.created_by,
        create_time=timestamp(key.created_at),
        expire_time=timestamp(key.expires_at),
        revoke_time=timestamp(key.revoked_at),
        last_use_time=timestamp(used.get(key.id)),
        successor_id=str(key.successor_id or ""),
        requests_per_second=key.limit.rate,
        burst=key.limit.burst,
        certificates=key.certificates,
        etag=_etag(key),
    )
