"""SessionService."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import replace

from clarion.admin.v1 import operator_pb2 as pb
from clarion.admin.v1 import operator_pb2_grpc

from ..api.proto_messages import timestamp
from ..domain.operator import Actor, ActorKind, Role, Session, new_session_token
from ..errors import CredentialsInvalid
from ..intake.rules import require_valid
from ..store.admin import operators as store
from ..store.admin.projects import project_names
from ..store.pool import Pool, reached
from ..store.queue.sending_hold import find_hold
from .call import AdminCall
from .change import Change, changing
from .errors import RoleMissing, SessionNotFound
from .grants import grant_messages, grant_words, only_project
from .oidc.sign_in import SignIn, token_hash
from .paging import Place, page_of, page_start
from .system import hold_message

__all__ = ["SessionServicer", "record_session"]

_DEFAULT_PAGE = 50


class SessionServicer(operator_pb2_grpc.SessionServiceServicer):
    """Signs people in and out.

    Args:
        pool: The database.
        sign_in: Identifies people by OpenID Connect.
    """

    def __init__(self, pool: Pool, sign_in: SignIn) -> None:
        self._pool = pool
        self._sign_in = sign_in

    async def GetCaller(  # noqa: N802 - gRPC's name
        self, request: pb.GetCallerRequest, call: AdminCall
    ) -> pb.GetCallerResponse:
        """Return who the caller is."""
        actor = call.actor
        async with reached():
            names = await project_names(self._pool)
            held = await find_hold(self._pool)
        return pb.GetCallerResponse(
            kind=actor.kind.value,
            display_name=actor.name,
            grants=grant_messages(actor.grants, names),
            session_id=str(actor.session_id or ""),
            expire_time=timestamp(actor.expires_at),
            owner=str(actor.owner),
            sending_hold=hold_message(held),
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
            assert session is not None  # noqa: S101 - only a used ID token prevents one
            names = await project_names(change.connection)
            await record_session(change, "session.create", session)
        return pb.CreateSessionResponse(session=_session(session, names), token=token)

    async def GetSignIn(  # noqa: N802 - gRPC's name
        self, request: pb.GetSignInRequest, call: AdminCall
    ) -> pb.GetSignInResponse:
        """Return the OpenID provider, if one is configured."""
        if not self._sign_in.is_configured:
            return pb.GetSignInResponse()
        settings, provider = self._sign_in.settings, await self._sign_in.provider()
        return pb.GetSignInResponse(
            issuer=settings.issuer,
            client_id=settings.client_id,
            scopes=settings.scopes,
            authorization_endpoint=provider.authorization_endpoint,
            token_endpoint=provider.token_endpoint,
        )

    async def CreateSessionByOidc(  # noqa: N802 - gRPC's name
        self, request: pb.CreateSessionByOidcRequest, call: AdminCall
    ) -> pb.CreateSessionByOidcResponse:
        """Start a session for the person in an ID token."""
        require_valid(request)
        identity = await self._sign_in.identify(request.id_token, request.nonce_verifier, call.address)
        name, token = identity.display_name, new_session_token()
        async with reached():
            names = await project_names(self._pool)
        grants = self._sign_in.grants(identity, names)
        if not grants:
            raise RoleMissing(
                f"{name} has no access to Clarion. Ask an administrator to add you to `oidc.allow`."
            )
        call = replace(call, actor=Actor(ActorKind.PERSON, name, grants))
        async with changing(self._pool, call) as change:
            session = await store.create_session(
                change.connection,
                token,
                name=name,
                grants=grants,
                user_agent=request.user_agent,
                identity=identity,
                token_used=token_hash(request.id_token),
            )
            if session is None:
                raise CredentialsInvalid("The ID token cannot be used: it was used before. Sign in again.")
            after = {"name": name, "grants": grant_words(grants, names), "subject": identity.subject}
            await record_session(change, "session.create", session, after=after)
        return pb.CreateSessionByOidcResponse(session=_session(session, names), token=token)

    async def ListSessions(  # noqa: N802 - gRPC's name
        self, request: pb.ListSessionsRequest, call: AdminCall
    ) -> pb.ListSessionsResponse:
        """Return a page of the current sessions that the caller may end."""
        require_valid(request)
        size = request.page_size or _DEFAULT_PAGE
        start = page_start(request, Place)
        async with reached():
            names = await project_names(self._pool)
            found = await store.list_sessions(self._pool, call.visible, after=start, limit=size + 1)
        page, token = page_of(request, found, size, lambda one: Place(one.created_at, one.id))
        return pb.ListSessionsResponse(sessions=[_session(one, names) for one in page], next_page_token=token)

    async def GetSession(  # noqa: N802 - gRPC's name
        self, request: pb.GetSessionRequest, call: AdminCall
    ) -> pb.GetSessionResponse:
        """Return a current session that the caller may end."""
        require_valid(request)
        async with reached():
            names = await project_names(self._pool)
            session = await store.find_session(self._pool, uuid.UUID(request.session_id), call.visible)
        if session is None:
            raise SessionNotFound.of(request.session_id)
        return pb.GetSessionResponse(session=_session(session, names))

    async def RevokeSession(  # noqa: N802 - gRPC's name
        self, request: pb.RevokeSessionRequest, call: AdminCall
    ) -> pb.RevokeSessionResponse:
        """End a session: the caller's own, or one that the caller may manage."""
        require_valid(request)
        async with changing(self._pool, call) as change:
            session = await store.find_session(
                change.connection,
                uuid.UUID(request.session_id),
                call.actor.projects(Role.ADMIN),
                own=call.actor.session_id,
            )
            if session is None:
                raise SessionNotFound.of(request.session_id)
            if await store.revoke_session(change.connection, session.id):
                await record_session(change, "session.revoke", session, before={"name": session.name})
        return pb.RevokeSessionResponse()


async def record_session(
    change: Change, action: str, session: Session, **values: Mapping[str, object]
) -> None:
    """Record a change of a session in the project that it may use, if that is only one.

    Args:
        change: The transaction.
        action: What was done.
        session: The session.
        values: Its values `before` or `after`; see `Change.record`.
    """
    project_id = only_project(session.grants)
    await change.record(action, f"session/{session.id}", project_id=project_id, **values)


def _session(session: Session, names: Mapping[int, str]) -> pb.Session:
    return pb.Session(
        session_id=str(session.id),
        display_name=session.name,
        grants=grant_messages(session.grants, names),
        create_time=timestamp(session.created_at),
        expire_time=timestamp(session.expires_at),
        last_use_time=timestamp(session.used_at),
        user_agent=session.user_agent,
    )
