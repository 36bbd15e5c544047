"""The metrics of what servers and dispatchers keep of the database: connections, catalog and schema."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from ..metrics import REGISTRY, counter, gauge
from .pool import Pool

__all__ = ["clocks_compared", "deleted", "reported", "schema_checked", "watch_catalog", "watch_pool"]

_AGE = gauge(
    "clarion_catalog_age_seconds", "Seconds since the last successful check for changed keys and campaigns."
)
_SCHEMA = gauge("clarion_schema_version", "Version of the database's schema.")
_NEEDED = gauge("clarion_schema_version_needed", "Version of the schema that this process was built for.")
_INDEXES = gauge("clarion_schema_indexes_missing", "Indexes that `clarion migrate` has yet to build.")
_WRITE = gauge(
    "clarion_database_write_seconds", "Duration of the last report to the database, a write every 2 seconds."
)
_OFFSET = gauge(
    "clarion_clock_offset_seconds", "Seconds by which the process's clock is ahead of the database's."
)
_DELETED = counter("clarion_deleted_rows", "Rows that were deleted at the end of their retention.", ["data"])
_DELETED_AT = gauge(
    "clarion_retention_success_time_seconds",
    "Unix time when data past its retention was last deleted, or there was none.",
    ["data"],
)


class _Pools(Collector):
    """Reports the use of connection pools whenever the metrics are read."""

    def __init__(self) -> None:
        self.pools: dict[str, Pool] = {}

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Return the metrics."""
        connections = GaugeMetricFamily(
            "clarion_pool_connections", "Open connections to the database.", labels=["pool", "state"]
        )
        most = GaugeMetricFamily(
            "clarion_pool_max_connections", "Most connections that the pool opens.", labels=["pool"]
        )
        waiting = GaugeMetricFamily(
            "clarion_pool_waiting", "Statements that wait for a connection.", labels=["pool"]
        )
        for name, pool in list(self.pools.items()):
            size, idle = pool.get_size(), pool.get_idle_size()
            connections.add_metric([name, "in_use"], size - idle)
            connections.add_metric([name, "idle"], idle)
            most.add_metric([name], pool.get_max_size())
            waiting.add_metric([name], _waiting(pool))
        return connections, most, waiting


_POOLS = _Pools()
REGISTRY.register(_POOLS)


def _waiting(pool: Pool) -> int:
    """Return how many callers wait for a connection: asyncpg does not publish this number."""
    queue: asyncio.Queue[Any] = pool._queue  # type: ignore[attr-defined]
    return sum(not one.done() for one in list(queue._getters))  # type: ignore[attr-defined]


def watch_pool(name: str, pool: Pool) -> None:
    """Report the use of a pool whenever the metrics are read.

    Args:
        name: What the pool is for.
        pool: The pool.
    """
    _POOLS.pools[name] = pool


def watch_catalog(age: Callable[[], float]) -> None:
    """Report the age of the catalog whenever the metrics are read."""
    _AGE.set_function(age)


def schema_checked(found: int, needed: int, missing_indexes: int) -> None:
    """Report the schema of the database.

    Args:
        found: Its version.
        needed: The version that this process was built for.
        missing_indexes: The number of indexes that are missing or invalid.
    """
    _SCHEMA.set(found)
    _NEEDED.set(needed)
    _INDEXES.set(missing_indexes)


def reported(seconds: float) -> None:
    """Report how long this process's last report to the database took."""
    _WRITE.set(seconds)


def clocks_compared(offset: float) -> None:
    """Report by how many seconds the clock is ahead of the database's."""
    _OFFSET.set(offset)


def deleted(data: str, rows: int | None) -> None:
    """Report that data was deleted at the end of its retention.

    Args:
        data: What it was.
        rows: How many rows; None if whole partitions were deleted.
    """
    _DELETED_AT.labels(data).set_to_current_time()
    if rows is not None:
        _DELETED.labels(data).inc(rows)
