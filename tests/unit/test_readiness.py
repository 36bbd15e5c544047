"""Readiness: what a server reports while its database answers, and while it hangs."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from server.errors import StoreUnavailable
from server.process import readiness
from server.process.readiness import report_readiness


class Database:
    """A database that hangs when a test says so; a statement then cannot be cancelled either."""

    age = 0.0

    def __init__(self) -> None:
        self.answers = asyncio.Event()
        self.answers.set()
        self.checks = 0
        self.is_down = False

    async def is_usable(self) -> bool:
        self.checks += 1
        while not self.answers.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await self.answers.wait()
        if self.is_down:
            raise StoreUnavailable
        return True


@pytest.fixture
def database(monkeypatch: pytest.MonkeyPatch) -> Database:
    for name in ("_INTERVAL", "_MAX_AGE", "_SCHEMA_INTERVAL"):
        monkeypatch.setattr(readiness, name, 0.01)
    return Database()


async def test_server_is_not_ready_while_its_database_hangs(database: Database) -> None:
    reported: asyncio.Queue[bool] = asyncio.Queue()
    reporting = asyncio.create_task(report_readiness(database, database.is_usable, reported.put))
    assert await reported.get() is True
    database.answers.clear()
    assert await reported.get() is False
    hung = database.checks
    await asyncio.sleep(0.1)
    assert database.checks == hung  # checks of a database that hangs do not pile up
    database.answers.set()
    assert await reported.get() is True
    database.is_down = True
    assert await reported.get() is False
    reporting.cancel()
    await asyncio.gather(reporting, return_exceptions=True)
