"""Builds what the admin API works with, and ends the sessions that the allow-list does not grant any more."""

from __future__ import annotations

import uuid
from functools import partial

from ..admin.call import AdminCall
from ..admin.change import changing
from ..admin.oidc.sign_in import SignIn
from ..admin.services import Backend
from ..admin.sessions import record_session
from ..config import Settings
from ..domain.operator import COMMAND_LINE, Actor, ActorKind, Role, Session, may_grant
from ..store.admin import operators
from ..store.admin.projects import project_names
from ..store.pool import Pool, reached
from .webhooks import url_problems

__all__ = ["build_backend", "end_lost_sessions"]

_PAGE = 1000
_STARTING = Actor(ActorKind.COMMAND_LINE, "oidc.allow", COMMAND_LINE)


def build_backend(settings: Settings, pool: Pool) -> Backend:
    """Return what the services of the admin API work with."""
    return Backend(pool, partial(url_problems, settings), SignIn(settings.oidc), settings.data_dir)


async def end_lost_sessions(backend: Backend) -> None:
    """End the sessions of people to whom the settings do not grant everything that their session may do.

    Raises:
        StoreUnavailable: The database cannot be reached.
    """
    async with reached():
        names = await project_names(backend.pool)
        sessions = await _sessions(backend.pool)
    for session in sessions:
        if session.identity is None:
            continue
        granted = backend.sign_in.grants(session.identity, names)
        if may_grant(Actor(ActorKind.PERSON, session.name, granted), session.grants):
            continue
        call = AdminCall(_STARTING, Role.ADMIN, "server start", str(uuid.uuid4()))
        async with changing(backend.pool, call) as change:
            if await operators.revoke_session(change.connection, session.id):
                await record_session(change, "session.revoke", session, before={"name": session.name})


async def _sessions(pool: Pool) -> list[Session]:
    """Return all current sessions; there are few of each person."""
    found: list[Session] = []
    place = None
    while page := await operators.list_sessions(pool, None, after=place, limit=_PAGE):
        found += page
        place = page[-1].created_at, page[-1].id
    return found
