"""Pools for lists and watchers, and how their statements went about it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from server.store.pool import READING, Pool, open_pool
from tests.contract.store.test_plans import nodes

__all__ = ["Explained", "reading"]


@asynccontextmanager
async def reading(url: str, **settings: str) -> AsyncIterator[Pool]:
    """Open a pool as servers have it for lists and watchers."""
    pool = await open_pool(url, size=2, connect_timeout=60, settings={**READING, **settings})
    try:
        yield pool
    finally:
        pool.terminate()


class Explained:
    """A pool that also explains each statement: its rows read and its plan nodes."""

    def __init__(self, pool: Pool) -> None:
        self.pool: Any = pool
        self.most = 0
        self.most_of_all = 0
        self.most_of_lists = 0
        """Of statements that return many rows."""
        self.kinds: set[str] = set()
        self.scanned: set[str] = set()
        """Tables that were read from end to end."""
        self.relations: set[str] = set()
        self.statements = 0

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[Explained]:
        """Use one connection, whose statements are explained, too."""
        before = self.pool
        async with before.acquire() as connection:
            self.pool = connection
            try:
                yield self
            finally:
                self.pool = before

    def transaction(self, **options: Any) -> Any:
        return self.pool.transaction(**options)

    async def execute(self, text: str, *arguments: object) -> Any:
        return await self.pool.execute(text, *arguments)

    async def fetchrow(self, text: str, *arguments: object) -> Any:
        return next(iter(await self._explained(text, *arguments)), None)

    async def fetchval(self, text: str, *arguments: object) -> Any:
        return (await self.fetchrow(text, *arguments))[0]

    async def fetch(self, text: str, *arguments: object) -> Any:
        rows = await self._explained(text, *arguments)
        self.most_of_lists = max(self.most, self.most_of_lists)
        return rows

    async def _explained(self, text: str, *arguments: object) -> Any:
        [[plan]] = await self.pool.fetch(f"EXPLAIN (ANALYZE, FORMAT JSON) {text}", *arguments)
        found = list(nodes(json.loads(plan)[0]["Plan"]))
        self.most = max(node["Actual Rows"] * node["Actual Loops"] for node in found)
        self.most_of_all = max(self.most, self.most_of_all)
        self.statements += 1
        self.relations |= {node["Relation Name"] for node in found if "Relation Name" in node}
        self.kinds |= {node["Node Type"] for node in found}
        self.scanned |= {node["Relation Name"] for node in found if node["Node Type"] == "Seq Scan"}
        return await self.pool.fetch(text, *arguments)
