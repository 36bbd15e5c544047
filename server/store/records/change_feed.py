"""The log of changes: ended attempts and cancellations, in the order of their transactions.

The record itself is the log. Each row of `attempt` and `cancellation` has the number of the transaction that
wrote it. Rows of transactions below pg_snapshot_xmin() are complete and do not change, so a reader that stops
there misses no transaction that commits late. A transaction that stays open long after its writes delays the
log.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import asyncpg
import structlog

from ...domain.delivery import Change, Changes, Delivery, Position, WatchFilter
from ...errors import Overloaded, ServerEnding, StoreUnavailable
from ..pool import Pool, reached
from ..sql import load
from .find import find_deliveries

__all__ = ["ChangeFeed"]

log = structlog.get_logger(__name__)

_INTERVAL = 0.25  # seconds
_PAGE = 100  # rows of the log; building their deliveries blocks other calls for a moment
_SUMMARY_LIMIT = 5000  # rows of the log
_CANCELLED = 2**31 - 1  # the number of a cancellation: it comes after all attempts of its transaction
_NEVER = 2**62  # a transaction number that is never reached

_SQL = load("records/change_feed.sql")
_HORIZON, _SUMMARIZE, _READ = _SQL["horizon"], _SQL["summarize"], _SQL["read"]


@dataclass(frozen=True, slots=True)
class _Tip:
    """The end of the log: it is complete below the transaction `until`."""

    since: int
    until: int
    projects: frozenset[int] | None
    """The projects with changes since the transaction `since`; None: possibly all."""

    def has_nothing_for(self, project_id: int, position: Position) -> bool:
        """Return whether no change after the position belongs to the project."""
        return self.projects is not None and project_id not in self.projects and position.xid >= self.since


class ChangeFeed:
    """Follows the log while there are watchers.

    One query serves all watchers: it finds the projects whose triggers changed. Each watcher then reads from
    its own position, page by page, so a slow one does not delay others, and needs no more memory than a page.

    Args:
        pool: A separate pool, opened with the settings `READING`.
        max_watchers: The maximum number of watchers. A project may have half of them, so that one key that
            opens many streams leaves room for other projects.
    """

    def __init__(self, pool: Pool, *, max_watchers: int) -> None:
        self._pool = pool
        self._max_watchers = max_watchers
        self._max_of_project = max(1, max_watchers // 2)
        self._watchers = Counter[int]()
        self._watched = asyncio.Event()
        self._tip: _Tip | None = None
        self._news = asyncio.Event()
        self._closed = False

    @contextmanager
    def watching(self, project_id: int) -> Iterator[None]:
        """Count as one of the project's watchers for the block.

        Raises:
            Overloaded: There are too many watchers.
        """
        self._check_capacity(project_id)
        self._watchers[project_id] += 1
        self._watched.set()
        try:
            yield
        finally:
            self._watchers -= Counter([project_id])  # unlike `-= 1`, this removes a count of zero
            if not self._watchers:
                self._watched.clear()
                self._tip = None

    async def end(self) -> Position:
        """Return the current end of the log.

        Raises:
            StoreUnavailable: The database cannot be reached.
        """
        async with reached():
            return Position(await self._pool.fetchval(*_HORIZON()))

    async def present(self, trigger_ids: Sequence[uuid.UUID], project_id: int) -> dict[uuid.UUID, Delivery]:
        """Return the current deliveries of those triggers that belong to the project, by trigger id.

        Raises:
            StoreUnavailable: The database cannot be reached.
        """
        async with reached():
            return await find_deliveries(self._pool, trigger_ids, project_id)

    async def after(
        self, position: Position, project_id: int, followed: WatchFilter, within: float
    ) -> Changes:
        """Return the next changes after a position, or no changes if none occurs for `within` seconds.

        Each trigger is included once: as it is now, at the position of its last change among these.

        Raises:
            ServerEnding: This process is stopping.
            StoreUnavailable: The database cannot be reached.
        """
        end = asyncio.get_running_loop().time() + within
        while not self._closed:
            news, tip = self._news, self._tip
            if tip and position.xid < tip.until:
                if not tip.has_nothing_for(project_id, position):
                    return await self._read(position, tip.until, project_id, followed)
                position = Position(tip.until)
            try:
                async with asyncio.timeout_at(end):
                    await news.wait()
            except TimeoutError:
                return Changes((), position)
        raise ServerEnding

    async def run(self) -> None:
        """Follow the end of the log while there are watchers, until cancelled."""
        while True:
            await self._watched.wait()
            try:
                await self._move_tip()
            except StoreUnavailable:  # already logged; watchers continue when the database is back
                pass
            except Exception as error:
                log.error("log of changes not read", exc_info=error)
            await asyncio.sleep(_INTERVAL)

    def close(self) -> None:
        """End all streams, and reject new ones."""
        self._closed = True
        self._wake()

    def _check_capacity(self, project_id: int) -> None:
        total, own = self._watchers.total(), self._watchers[project_id]
        if total >= self._max_watchers:
            raise Overloaded(f"All {total} streams of this server are in use. Try again later.")
        if own >= self._max_of_project:
            raise Overloaded(
                f"All {own} streams that a project may open on this server are in use. Try again later."
            )

    async def _move_tip(self) -> None:
        """Move the tip to the end of the log. If nothing changed, watchers need not wake up."""
        tip = self._tip
        async with reached():
            row = await self._pool.fetchrow(
                *_SUMMARIZE(since=tip.until if tip else _NEVER, limit=_SUMMARY_LIMIT)
            )
        assert row is not None  # noqa: S101 - an aggregate always has one row
        horizon, projects = row["horizon"], frozenset(row["projects"])
        if tip is None:
            self._tip = _Tip(horizon, horizon, frozenset())
        elif not projects and not tip.projects and tip.projects is not None:
            self._tip = _Tip(tip.since, horizon, projects)
            return
        else:
            too_many = row["rows"] >= _SUMMARY_LIMIT
            self._tip = _Tip(tip.until, horizon, None if too_many else projects)
        self._wake()

    def _wake(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()

    async def _read(self, position: Position, until: int, project_id: int, followed: WatchFilter) -> Changes:
        """Return the changes after a position, below the transaction `until`, from one page of the log."""
        values = {
            **position._asdict(),
            "until": until,
            "limit": _PAGE,
            "cancelled": _CANCELLED,
            "project_id": project_id,
            "campaign_id": followed.campaign_id,
            "external_id": followed.external_id,
            "test": followed.test,
            "ids": list(followed.trigger_ids) if followed.trigger_ids is not None else None,
        }
        async with reached():
            rows = await self._pool.fetch(*_READ(**values))
            changed = _last_changes(rows)
            found = await find_deliveries(self._pool, list(changed)) if changed else {}
        changes = tuple(Change(found[one], position) for one, position in changed.items())
        return Changes(changes, _position(rows[-1]) if len(rows) == _PAGE else Position(until))


def _last_changes(rows: Sequence[asyncpg.Record]) -> dict[uuid.UUID, Position]:
    """Return the position of the last change of each wanted trigger, in the order of the log."""
    last = {row["trigger_id"]: _position(row) for row in rows if row["wanted"]}
    return dict(sorted(last.items(), key=lambda one: one[1]))


def _position(row: asyncpg.Record) -> Position:
    return Position(row["xid"], row["trigger_id"], row["number"])
