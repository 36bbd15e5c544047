"""Reports whether this server is ready: database reachable, schema usable, catalog fresh."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

import structlog

from ..errors import StoreUnavailable

__all__ = ["report_readiness"]

log = structlog.get_logger(__name__)

_INTERVAL = 0.5
_MAX_AGE = 2.0
"""Age of the catalog in seconds above which the server reports that it is not ready.

It still serves calls until `server.catalog_max_age`: in a short outage, that is better than an error."""
_SCHEMA_INTERVAL = 5.0


class _Catalog(Protocol):
    @property
    def age(self) -> float: ...


async def report_readiness(
    catalog: _Catalog,
    schema_is_usable: Callable[[], Awaitable[bool]],
    set_ready: Callable[[bool], Awaitable[None]],
) -> None:
    """Check readiness twice per second and pass changes to `set_ready` and the log, until cancelled."""
    was_ready, schema = None, _SchemaCheck(schema_is_usable)
    try:
        while True:
            schema_is_good = await schema.is_good()
            ready = schema_is_good and catalog.age <= _MAX_AGE
            if ready is not was_ready:
                facts = {"catalog_age_s": round(catalog.age, 1), "schema_is_usable": schema_is_good}
                (log.info if ready else log.warning)("ready" if ready else "not ready", **facts)
                await set_ready(ready)
                was_ready = ready
            await asyncio.sleep(_INTERVAL)
    finally:
        schema.cancel()


class _SchemaCheck:
    """Checks the schema from time to time, and waits a limited time for the database.

    A check that takes too long is not cancelled, because cancelling a statement waits for an answer of the
    database, which a hanging database does not send. The check ends when its connection does; until then no
    other check starts.
    """

    def __init__(self, is_usable: Callable[[], Awaitable[bool]]) -> None:
        self._is_usable = is_usable
        self._running: asyncio.Task[bool] | None = None
        self._was_good = False
        self._look_again_at = 0.0

    async def is_good(self) -> bool:
        """Return whether the schema could be used at the last check; False while a check takes too long."""
        if time.monotonic() >= self._look_again_at:
            self._was_good = await self._check()
            self._look_again_at = time.monotonic() + (_SCHEMA_INTERVAL if self._was_good else _INTERVAL)
        return self._was_good

    def cancel(self) -> None:
        """Cancel the check that runs."""
        if self._running:
            self._running.cancel()

    async def _check(self) -> bool:
        self._running = self._running or asyncio.create_task(_answer(self._is_usable))
        done, _ = await asyncio.wait({self._running}, timeout=_MAX_AGE)
        if not done:
            return False
        checked, self._running = self._running, None
        return checked.result()


async def _answer(schema_is_usable: Callable[[], Awaitable[bool]]) -> bool:
    """Return whether the schema can be used, or False after an error."""
    try:
        return await schema_is_usable()
    except StoreUnavailable:
        return False
    except Exception as error:
        log.warning("cannot read the schema version", exc_info=error)
        return False
