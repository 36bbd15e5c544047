"""The version before runs on this version's schema: each of its SQL statements can be prepared.

`tools/keep_statements.py` wrote the statements at the last release.
"""

from __future__ import annotations

import json
from pathlib import Path

import asyncpg

from server.store.pool import Connection, Pool

STATEMENTS: dict[str, dict[str, str]] = json.loads(
    Path(__file__).with_name("released_statements.json").read_text(encoding="utf-8")
)


async def rejected(connection: Connection) -> dict[str, str]:
    """Return the statements that PostgreSQL rejects, with its message."""
    found = {}
    for file, statements in STATEMENTS.items():
        for name, text in statements.items():
            try:
                async with connection.transaction():
                    await connection.prepare(text)
            except asyncpg.PostgresError as error:
                found[f"{file}: {name}"] = str(error)
    return found


async def test_the_schema_accepts_the_released_statements(pool: Pool) -> None:
    async with pool.acquire() as connection:
        assert await rejected(connection) == {}


async def test_a_column_that_the_release_uses_is_missed(pool: Pool) -> None:
    async with pool.acquire() as connection:
        change = connection.transaction()
        await change.start()
        await connection.execute("ALTER TABLE webhook RENAME COLUMN state TO status")
        found = await rejected(connection)
        await change.rollback()
    assert {"queue/webhooks.sql: finish"} <= found.keys()
    assert all("state" in message for message in found.values())
