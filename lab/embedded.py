"""Runs the embedded PostgreSQL alone."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from server.postgres.embedded import EmbeddedPostgres
from server.up.data_folder import RunDir

from .process import Process

__all__ = ["postgres", "postgres_process"]


@asynccontextmanager
async def postgres(run: RunDir) -> AsyncIterator[tuple[EmbeddedPostgres, Process]]:
    """Run the embedded PostgreSQL, without a schema."""
    server, process = postgres_process(run)
    async with process.running():
        yield server, process


def postgres_process(run: RunDir) -> tuple[EmbeddedPostgres, Process]:
    """Return the embedded PostgreSQL, which the caller starts and stops."""
    server = EmbeddedPostgres(run.data, run.sockets)
    process = Process(
        "postgres",
        server.command(),
        run.log,
        env=server.environment,
        prepare=server.prepare,
        ready=server.wait_ready,
        stop_signal=signal.SIGINT,
        death_signal=signal.SIGINT,
    )
    return server, process
