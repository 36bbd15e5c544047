"""Whether this server can serve calls: the store answers, its schema is ours, the catalog is fresh."""

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
"""Seconds. Look-ups trust a catalog for longer: a call in a short outage is better served than refused."""
_SCHEMA_INTERVAL = 5.0


class _Catalog(Protocol):
    @property
    def age(self) -> float: ...


async def report_readiness(
    catalog: _Catalog,
    schema_is_current: Callable[[], Awaitable[bool]],
    set_ready: Callable[[bool], Awaitable[None]],
) -> None:
    """Look twice a second and tell `set_ready`, until cancelled. Changes are logged."""
    was_ready, schema_is_good, look_again_at = None, False, 0.0
    while True:
        if time.monotonic() >= look_again_at:
            schema_is_good = await _answer(schema_is_current)
            look_again_at = time.monotonic() + (_SCHEMA_INTERVAL if schema_is_good else _INTERVAL)
        ready = schema_is_good and catalog.age <= _MAX_AGE
        if ready is not was_ready:
            facts = {"catalog_age_s": round(catalog.age, 1), "schema_is_current": schema_is_good}
            (log.info if ready else log.warning)("ready" if ready else "not ready", **facts)
            await set_ready(ready)
            was_ready = ready
        await asyncio.sleep(_INTERVAL)


async def _answer(schema_is_current: Callable[[], Awaitable[bool]]) -> bool:
    """Return the answer; no answer in time is a no, and so is every error: the server goes on."""
    try:
        async with asyncio.timeout(_MAX_AGE):
            return await schema_is_current()
    except (StoreUnavailable, TimeoutError):
        return False
    except Exception as error:
        log.warning("the schema's version could not be read", exc_info=error)
        return False
