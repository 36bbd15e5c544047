"""The log of changes: ended attempts and cancellations, told in the order of their transactions.

The record itself is the log. Each row of `attempt` and `cancellation` has the number of the transaction that
wrote it; those below pg_snapshot_xmin() are all there and stay as they are, so that whoever reads up to there
misses none that commits late. A transaction that stays open for long after it has written holds the log back.
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
from .find import find_deliveries

__all__ = ["ChangeFeed"]

log = structlog.get_logger(__name__)

_LOOK = 0.25  # seconds
_PAGE = 100  # rows of the log: what is made of them at once holds up other calls for a moment
_SUMMED_UP = 5000  # rows of the log
_CANCELLED = 2**31 - 1  # the place of a cancellation, behind all attempts of its transaction

_HORIZON = "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::int8"
# Whose triggers changed from $1 on.
_LOOK_ONCE = f"""
    SELECT horizon::text::int8 AS horizon, news.rows, news.projects
    FROM pg_snapshot_xmin(pg_current_snapshot()) AS horizon CROSS JOIN LATERAL (
        SELECT count(*) AS rows, coalesce(array_agg(DISTINCT t.project_id), '{{}}') AS projects
        FROM (
            (SELECT trigger_id FROM attempt
                WHERE xid >= $1::int8::text::xid8 AND xid < horizon LIMIT {_SUMMED_UP})
            UNION ALL
            (SELECT trigger_id FROM cancellation
                WHERE xid >= $1::int8::text::xid8 AND xid < horizon LIMIT {_SUMMED_UP})
        ) AS changed CROSS JOIN LATERAL (
            SELECT project_id FROM trigger WHERE id = changed.trigger_id OFFSET 0) AS t
    ) AS news
"""  # noqa: S608 - constants only
_BETWEEN = """xid >= $1::int8::text::xid8 AND xid < $4::int8::text::xid8
    AND (xid > $1::int8::text::xid8 OR (trigger_id, {number}) > ($2::uuid, $3::int4))"""
# The next rows of the log, of whomever they are: so a look ends, and tells how far it came.
_READ = f"""
    WITH next AS (
        (SELECT xid, trigger_id, number FROM attempt WHERE {_BETWEEN.format(number="number")}
            ORDER BY xid, trigger_id, number LIMIT {_PAGE})
        UNION ALL
        (SELECT xid, trigger_id, {_CANCELLED} FROM cancellation WHERE {_BETWEEN.format(number=_CANCELLED)}
            ORDER BY xid, trigger_id LIMIT {_PAGE})
        ORDER BY xid, trigger_id, number LIMIT {_PAGE}
    )
    SELECT next.xid::text::int8 AS xid, next.trigger_id, next.number, t.id IS NOT NULL AS wanted
    FROM next LEFT JOIN LATERAL (
        SELECT id FROM trigger WHERE id = next.trigger_id AND project_id = $5
            AND ($6::int8 IS NULL OR campaign_id = $6) AND ($7::text IS NULL OR external_id = $7)
            AND ($8::uuid[] IS NULL OR id = ANY($8)) OFFSET 0) AS t ON true
    ORDER BY next.xid, next.trigger_id, next.number
"""  # noqa: S608 - constants only


@dataclass(frozen=True, slots=True)
class _Tip:
    """The end of the log: what is there up to `until`, and whose it is since `since` (None: anybody's)."""

    since: int
    until: int
    projects: frozenset[int] | None

    def passes_by(self, project_id: int, position: Position) -> bool:
        """Tell whether nothing behind the position is the project's."""
        return self.projects is not None and project_id not in self.projects and position.xid >= self.since


class ChangeFeed:
    """Follows the log while anybody watches.

    One look serves all watchers: it tells whose triggers changed. Each then reads for itself, from its own
    position and page by page, so that a slow one slows nobody, and needs no more memory than a page.
    """

    def __init__(self, pool: Pool, *, max_watchers: int) -> None:
        """Take a pool of its own, opened with the settings `READING`, and how many may watch at once.

        A project has half of the places at the most: one key that opens stream after stream leaves others
        theirs.
        """
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
        """Be one of the project's watchers for the block.

        Raises:
            Overloaded: too many watch already.
        """
        self._make_sure_of_a_place(project_id)
        self._watchers[project_id] += 1
        self._watched.set()
        try:
            yield
        finally:
            self._watchers -= Counter([project_id])  # which keeps no zeros
            if not self._watchers:
                self._watched.clear()
                self._tip = None

    async def end(self) -> Position:
        """Return the present end of the log.

        Raises:
            StoreUnavailable: the database cannot be reached.
        """
        async with reached():
            return Position(await self._pool.fetchval(_HORIZON))

    async def present(self, trigger_ids: Sequence[uuid.UUID], project_id: int) -> dict[uuid.UUID, Delivery]:
        """Return the deliveries of those triggers that the project has, by trigger id.

        Raises:
            StoreUnavailable: the database cannot be reached.
        """
        async with reached():
            return await find_deliveries(self._pool, trigger_ids, project_id)

    async def after(
        self, position: Position, project_id: int, followed: WatchFilter, within: float
    ) -> Changes:
        """Return what changed next behind a position; nothing, if nothing does `within` seconds.

        Each trigger stands there once, as it is now, at its last change among these.

        Raises:
            ServerEnding: this process ends.
            StoreUnavailable: the database cannot be reached.
        """
        end = asyncio.get_running_loop().time() + within
        while not self._closed:
            news, tip = self._news, self._tip
            if tip and position.xid < tip.until:
                if not tip.passes_by(project_id, position):
                    return await self._read(position, tip.until, project_id, followed)
                position = Position(tip.until)
            try:
                async with asyncio.timeout_at(end):
                    await news.wait()
            except TimeoutError:
                return Changes((), position)
        raise ServerEnding

    async def run(self) -> None:
        """Look again and again, while anybody watches, until cancelled."""
        while True:
            await self._watched.wait()
            try:
                await self._look()
            except StoreUnavailable:  # logged; the watchers go on when it is back
                pass
            except Exception as error:
                log.error("no look at the log of changes", exc_info=error)
            await asyncio.sleep(_LOOK)

    def close(self) -> None:
        """End all watching, now and from now on."""
        self._closed = True
        self._wake()

    def _make_sure_of_a_place(self, project_id: int) -> None:
        total, own = self._watchers.total(), self._watchers[project_id]
        if total >= self._max_watchers:
            raise Overloaded(f"{total} streams are open here, which is the most. Try again later.")
        if own >= self._max_of_project:
            raise Overloaded(
                f"{own} streams of this project are open here, which is the most. Try again later."
            )

    async def _look(self) -> None:
        """Move the tip. While nothing happens it only grows, so that nobody need be woken."""
        tip = self._tip
        async with reached():
            row = await self._pool.fetchrow(_LOOK_ONCE, tip.until if tip else 2**62)
        assert row is not None  # noqa: S101 - it always has one
        horizon, projects = row["horizon"], frozenset(row["projects"])
        if tip is None:
            self._tip = _Tip(horizon, horizon, frozenset())
        elif not projects and not tip.projects and tip.projects is not None:
            self._tip = _Tip(tip.since, horizon, projects)
            return
        else:
            too_many = row["rows"] >= _SUMMED_UP
            self._tip = _Tip(tip.until, horizon, None if too_many else projects)
        self._wake()

    def _wake(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()

    async def _read(self, position: Position, until: int, project_id: int, followed: WatchFilter) -> Changes:
        """Return what changed from a position until a transaction, a page of the log at most."""
        ids = list(followed.trigger_ids) if followed.trigger_ids is not None else None
        wanted = (project_id, followed.campaign_id, followed.external_id, ids)
        async with reached():
            rows = await self._pool.fetch(_READ, *position, until, *wanted)
            changed = _last_changes(rows)
            found = await find_deliveries(self._pool, list(changed)) if changed else {}
        changes = tuple(Change(found[one], place) for one, place in changed.items())
        return Changes(changes, _position(rows[-1]) if len(rows) == _PAGE else Position(until))


def _last_changes(rows: Sequence[asyncpg.Record]) -> dict[uuid.UUID, Position]:
    """Return where each wanted trigger changed last, in the order of the log."""
    last = {row["trigger_id"]: _position(row) for row in rows if row["wanted"]}
    return dict(sorted(last.items(), key=lambda one: one[1]))


def _position(row: asyncpg.Record) -> Position:
    return Position(row["xid"], row["trigger_id"], row["number"])
