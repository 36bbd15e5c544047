"""Looks up the credentials of the admin API.

Every answer of the database is used for half a second, so a revoked key stops working within a second.
Secrets that the database has never known may be looked up only a few times a second, so that a stranger
cannot occupy it; those that have worked before are not affected.
"""

from __future__ import annotations

import datetime as dt
import time
from collections import OrderedDict
from collections.abc import Callable

from ..domain.key import hash_secret
from ..domain.operator import Actor, credential_from_header
from ..domain.token_bucket import TokenBucket
from ..errors import CredentialsInvalid, CredentialsMissing, Overloaded
from ..store.admin.operators import find_credential, touch
from ..store.pool import Pool, reached

__all__ = ["Credentials"]

_FRESH_SECONDS = 0.5
_UNKNOWN_PER_SECOND, _UNKNOWN_BURST = 20.0, 40
_MAX_KNOWN = 1000
_TOUCH_AFTER = dt.timedelta(minutes=1)
_NO_KEY = "The request has no admin key; send the header `Authorization: Bearer ak_…`."
_INVALID = "The admin key or session is invalid; send `Authorization: Bearer ak_…` with a valid key."


class Credentials:
    """Authenticates callers of the admin API.

    Args:
        pool: The database.
        clock: Returns seconds.
    """

    def __init__(self, pool: Pool, clock: Callable[[], float] = time.monotonic) -> None:
        self._pool = pool
        self._clock = clock
        self._known: OrderedDict[bytes, tuple[float, Actor | None]] = OrderedDict()
        self._unknown = TokenBucket(_UNKNOWN_PER_SECOND, _UNKNOWN_BURST, clock())

    async def actor(self, header: str | None) -> Actor:
        """Return who sends this header `authorization`.

        Raises:
            CredentialsMissing: There is no header.
            CredentialsInvalid: It has no admin key or session token that works.
            Overloaded: Too many unknown secrets are being tried.
            StoreUnavailable: The database cannot be reached.
        """
        if header is None:
            raise CredentialsMissing(_NO_KEY)
        secret = credential_from_header(header)
        actor = await self._find(secret) if secret else None
        if actor is None:
            raise CredentialsInvalid(_INVALID)
        return actor

    async def _find(self, secret: str) -> Actor | None:
        hashed = hash_secret(secret)
        now = self._clock()
        known = self._known.get(hashed)
        if known and now - known[0] < _FRESH_SECONDS:
            return known[1]
        if known is None:
            if not self._unknown.tokens(now, 1):
                raise Overloaded
            self._unknown.take(now)
        async with reached():
            found = await find_credential(self._pool, secret)
            if found and _is_older(found.used_at):
                await touch(self._pool, found.actor)
        if found or known:
            self._known[hashed] = (now, found.actor if found else None)
            self._known.move_to_end(hashed)
            if len(self._known) > _MAX_KNOWN:
                self._known.popitem(last=False)
        return found.actor if found else None


def _is_older(used_at: dt.datetime | None) -> bool:
    return used_at is None or dt.datetime.now(dt.UTC) - used_at > _TOUCH_AFTER
