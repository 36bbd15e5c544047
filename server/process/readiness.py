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
"""In seconds. Calls use an older catalog, too, because in a short outage that is better than an error."""
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
    was_ready, schema_is_good, look_again_at = None, False, 0.0
    while True:
        if time.monotonic() >= look_again_at:
            schema_is_good = await _answer(schema_is_usable)
            look_again_at = time.monotonic() + (_SCHEMA_INTERVAL if schema_is_good else _INTERVAL)
        ready = schema_is_good and catalog.age <= _MAX_AGE
        if ready is not was_ready:
            facts = {"catalog_age_s": round(catalog.age, 1), "schema_is_usable": schema_is_good}
            (log.info if ready else log.warning)("ready" if ready else "not ready", **facts)
            await set_ready(ready)
            was_ready = ready
        await asyncio.sleep(_INTERVAL)


async def _answer(schema_is_usable: Callable[[], Awaitable[bool]]) -> bool:
    """Return whether the schema can be used, or False after a timeout or an error."""
    try:
        async with asyncio.timeout(_MAX_AGE):
            return await schema_is_usable()
    except (StoreUnavailable, TimeoutError):
        return False
    except Exception as error:
        log.warning("cannot read the schema version", exc_info=error)
        return False
