"""Looks up the credentials of the admin API.

Every answer of the database is used for half a second, so a revoked key stops working within a second.
Secrets that have not worked before are looked up together, 20 times a second, so callers who try many
cannot occupy the database, and do not keep out a key that works.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from collections import OrderedDict
from collections.abc import Callable

from ..domain.key import hash_secret
from ..domain.operator import Actor, Credential, credential_from_header
from ..errors import CredentialsInvalid, CredentialsMissing, Overloaded
from ..store.admin.operators import find_credentials, touch
from ..store.pool import Pool, reached

__all__ = ["Credentials"]

_FRESH_SECONDS = 0.5
_BETWEEN_LOOKUPS = 0.05
"""Seconds between two lookups of secrets that have not worked before."""
_MAX_WAITING = 1000
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
        self._unknown = _UnknownSecrets(pool)

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
        if known:
            async with reached():
                found = (await find_credentials(self._pool, [secret])).get(secret)
        else:
            found = await self._unknown.find(secret)
        if found and _is_older(found.used_at):
            async with reached():
                await touch(self._pool, found.actor)
        if found or known:
            self._known[hashed] = (now, found.actor if found else None)
            self._known.move_to_end(hashed)
            if len(self._known) > _MAX_KNOWN:
                self._known.popitem(last=False)
        return found.actor if found else None


class _UnknownSecrets:
    """Looks up secrets that have not worked before: all that wait in one query, with pauses between them.

    Args:
        pool: The database.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._waiting: dict[str, asyncio.Future[Credential | None]] = {}
        self._task: asyncio.Task[None] | None = None

    async def find(self, secret: str) -> Credential | None:
        """Return what a secret authenticates, or None.

        Raises:
            Overloaded: Too many wait.
            StoreUnavailable: The database cannot be reached.
        """
        if secret not in self._waiting:
            if len(self._waiting) >= _MAX_WAITING:
                raise Overloaded
            self._waiting[secret] = asyncio.get_running_loop().create_future()
            self._task = self._task or asyncio.create_task(self._look_up())
        return await asyncio.shield(self._waiting[secret])

    async def _look_up(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, {}
            try:
                async with reached():
                    found = await find_credentials(self._pool, batch)
            except Exception as error:  # those who wait raise it
                for future in batch.values():
                    future.set_exception(error)
                    future.exception()  # no one may be left
            else:
                for secret, future in batch.items():
                    future.set_result(found.get(secret))
            await asyncio.sleep(_BETWEEN_LOOKUPS)
        self._task = None


def _is_older(used_at: dt.datetime | None) -> bool:
    return used_at is None or dt.datetime.now(dt.UTC) - used_at > _TOUCH_AFTER
