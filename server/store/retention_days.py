"""For how many days data is kept: as the settings say, but a shorter time applies a day later."""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from ..domain.shorter_retention import ShorterRetention
from .pool import Pool
from .sql import load

__all__ = ["RetentionDays", "find_shorter"]

log = structlog.get_logger(__name__)

_SQL = load("retention_days.sql")


class RetentionDays:
    """The days that apply, which the database remembers. A shorter setting is logged once by each process.

    Args:
        pool: The database.
        settings: The days that this process's settings have for `content`, `record` and `audit`.
    """

    def __init__(self, pool: Pool, settings: Mapping[str, int]) -> None:
        self._pool = pool
        self._settings = settings
        self._logged: dict[str, int] = {}

    async def report(self) -> None:
        """Compare all settings with the days that apply."""
        for data in self._settings:
            await self.applied(data)

    async def applied(self, data: str) -> int:
        """Report the setting of `data`, and return for how many days it is kept now.

        Dispatchers do this at their start and every minute, so the longest of their settings applies.
        """
        values = {"data": data, "days": self._settings[data]}
        async with self._pool.acquire() as connection, connection.transaction():
            await connection.execute(*_SQL["begin"](**values))
            await connection.execute(*_SQL["apply_next"](data=data))
            await connection.execute(*_SQL["lengthen"](**values))
            await connection.execute(*_SQL["shorten"](**values))
            row = await connection.fetchrow(*_SQL["find"](data=data))
        assert row  # noqa: S101 - the first statement inserts it
        if row["next_at"] is not None:
            self._log(ShorterRetention(**row))
        days: int = row["days"]
        return days

    def _log(self, shorter: ShorterRetention) -> None:
        if self._logged.get(shorter.data) != shorter.next_days:
            self._logged[shorter.data] = shorter.next_days
            log.warning(f"{shorter}; {shorter.action}")


async def find_shorter(pool: Pool) -> list[ShorterRetention]:
    """Return the shorter times that do not apply yet."""
    return [ShorterRetention(**row) for row in await pool.fetch(*_SQL["find_shorter"]())]
