"""Recognises a primary that was replaced: PostgreSQL gives each promotion a timeline with a higher number.

The numbers that primaries and standbys report are kept in memory. A process that has just started and
cannot reach the new primary therefore refuses the old one if it reaches a standby of the new one.
"""

from __future__ import annotations

import asyncpg
import structlog

__all__ = ["Replaced", "Timelines"]

log = structlog.get_logger(__name__)


class Replaced(asyncpg.ReadOnlySQLTransactionError):
    """The server was replaced by a newer primary: what is written to it would be lost."""


class Timelines:
    """The newest timeline of each cluster, by its system identifier."""

    def __init__(self) -> None:
        self._newest: dict[int, int] = {}
        self._refused: set[tuple[str, int]] = set()

    def __bool__(self) -> bool:
        """Return whether any timeline is known."""
        return bool(self._newest)

    def note(self, cluster: int, timeline: int) -> None:
        """Record what a server reports."""
        self._newest[cluster] = max(timeline, self._newest.get(cluster, 0))

    def is_newest(self, cluster: int, timeline: int) -> bool:
        """Return whether no server has reported a newer timeline."""
        return timeline >= self._newest.get(cluster, 0)

    def require_newest(self, cluster: int, timeline: int, host: str) -> None:
        """Refuse an old primary, and log it once.

        Args:
            cluster: The primary's system identifier.
            timeline: Its timeline.
            host: Its address, for the log.

        Raises:
            Replaced: A newer timeline is known.
        """
        if self.is_newest(cluster, timeline):
            return
        newest = self._newest[cluster]
        if (host, timeline) not in self._refused:
            self._refused.add((host, timeline))
            log.error(
                "refused a database server that was replaced by a newer primary;"
                " stop it, and make it a standby with pg_rewind",
                server=host,
                timeline=timeline,
                newest_timeline=newest,
            )
        raise Replaced(f"was replaced by a newer primary (timeline {timeline}, newest {newest})")
