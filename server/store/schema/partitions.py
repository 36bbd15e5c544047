"""Partitions the tables that grow with each trigger by ranges of its ID, which begins with the time.

So old rows are deleted with their partition, in a moment, and a table's newest rows stay close together. A
table that exists becomes the first partition of a new one; no row is copied, and writers wait only for the
moment of the exchange. The functions in the database that do this come from migration 0029.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping

import structlog

from ..partitioning import PARTITIONED
from ..pool import Connection
from ..sql import load
from .indexes import execute_locked

__all__ = ["is_partitioned", "partition_tables"]

log = structlog.get_logger(__name__)

_SQL = load("schema/migrate.sql")


async def is_partitioned(connection: Connection) -> bool:
    """Return whether all tables are partitioned."""
    return not any([await connection.fetchval(*_SQL["is_plain_table"](name=name)) for name in PARTITIONED])


async def partition_tables(connection: Connection) -> None:
    """Partition the tables that are not. An interrupted call can be repeated.

    Args:
        connection: A session outside a transaction, of which only one runs this at a time.

    Raises:
        StoreUnavailable: Another session has used a table for a minute, so that it could not be exchanged.
    """
    for name, key in PARTITIONED.items():
        if not await connection.fetchval(*_SQL["is_plain_table"](name=name)):
            continue
        ends: uuid.UUID = await connection.fetchval(*_SQL["end_of_first_partition"]())
        values: Mapping[str, object] = {"name": name, "key": key, "ends": ends}
        log.info("partitioning a table", table=name)
        await execute_locked(connection, name, *_SQL["announce_partitions"](**values))
        await connection.execute(*_SQL["validate_constraints"](name=name))
        await execute_locked(connection, name, *_SQL["partition_table"](**values))
