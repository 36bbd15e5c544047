"""The embedded PostgreSQL as the supervisor runs it, and questions to it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg

from server.postgres.embedded import EmbeddedPostgres
from server.up.supervisor import Child, Supervisor
from tests.kit.until import TIMEOUT


@asynccontextmanager
async def supervised(postgres: EmbeddedPostgres, log: Path) -> AsyncIterator[list[str]]:
    """Run PostgreSQL as `clarion up` does; gives what the supervisor says."""
    said: list[str] = []
    up = asyncio.Event()
    child = Child(
        name="postgres",
        command=postgres.command(),
        env=postgres.environment,
        prepare=postgres.prepare,
        ready=postgres.wait_ready,
        ready_timeout=TIMEOUT,
        stop_signal=signal.SIGINT,
        death_signal=signal.SIGQUIT,
        stop_timeout=4,
    )
    supervisor = Supervisor([child], log, said.append, on_up=up.set)
    running = asyncio.create_task(supervisor.run())
    waiting = asyncio.create_task(up.wait())
    await asyncio.wait({running, waiting}, timeout=TIMEOUT, return_when=asyncio.FIRST_COMPLETED)
    assert up.is_set(), said
    try:
        yield said
    finally:
        supervisor.stop()
        assert await asyncio.wait_for(running, 60) == 0


async def ask(url: str, query: str) -> object:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


def postmaster(postgres: EmbeddedPostgres) -> int:
    return int((postgres.cluster / "postmaster.pid").read_text().split()[0])
