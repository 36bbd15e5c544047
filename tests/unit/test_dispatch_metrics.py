"""The dispatcher's figures over HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import socket
from collections.abc import AsyncIterator

import httpx
import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from server.dispatcher import metrics
from server.dispatcher.circuit_breaker import BreakerState
from server.domain.campaign import Channel
from server.domain.delivery import Attempt, AttemptOutcome
from server.errors import ConfigError, StoreUnavailable
from server.process import metrics_server as monitoring
from server.process.metrics_server import serve_metrics
from tests.kit.clock import FakeClock
from tests.kit.http_client import http_client
from tests.kit.stack import free_port

LES = (0.01, 0.025)
"""Bounds of two buckets, in seconds."""


@contextlib.asynccontextmanager
async def serving(listen: str) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(serve_metrics(listen))
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def figures(listen: str) -> dict[str, float]:
    """Return what Prometheus would read."""
    async with http_client() as client, asyncio.timeout(60):
        while True:
            with contextlib.suppress(httpx.ConnectError):
                text = (await client.get(f"http://{listen}/metrics")).text
                break
            await asyncio.sleep(0.01)
    lines = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in lines}


@pytest.mark.parametrize(
    "listen", ["", "9464", ":9464", "127.0.0.1", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:65536", "h:-1"]
)
async def test_an_invalid_address_is_a_config_error(listen: str) -> None:
    with pytest.raises(ConfigError, match=r"dispatch\.metrics: '.*' must be host:port"):
        await serve_metrics(listen)


@pytest.mark.parametrize("listen", ["no-such-host.invalid:9464", "192.0.2.1:9464"])
async def test_a_foreign_address_is_a_config_error(listen: str) -> None:
    with pytest.raises(ConfigError, match=rf"dispatch\.metrics: cannot listen at {listen}: "):
        await asyncio.wait_for(serve_metrics(listen), 60)


async def test_a_port_in_use_is_waited_for_and_logged_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(monitoring, "_RETRY_SECONDS", 0.01)
    with socket.socket() as holder, capture_logs() as logs:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        listen = f"127.0.0.1:{holder.getsockname()[1]}"
        async with serving(listen) as task:
            await asyncio.sleep(0.1)
            assert not task.done()
            holder.close()
            assert await figures(listen)
    assert [one["event"] for one in logs] == ["metrics port is taken, retrying"]


async def test_metrics_of_attempts_breakers_and_the_backlog() -> None:
    attempt = Attempt(1, "figured", AttemptOutcome.DELIVERED, dt.datetime.now(dt.UTC), 0.02)
    listen = f"127.0.0.1:{free_port()}"

    async def read_backlog() -> tuple[dict[Channel, float], int]:
        return {Channel.EMAIL: 12.5}, 3

    states = {"figured": BreakerState.OPEN, "closed": BreakerState.CLOSED, "half": BreakerState.HALF_OPEN}
    reporting = asyncio.create_task(metrics.report(read_backlog, lambda: states))
    async with serving(listen):
        before = await figures(listen)
        metrics.attempted(Channel.PUSH, attempt)
        metrics.attempted(Channel.PUSH, replace(attempt, outcome=AttemptOutcome.DEAD, reached_provider=False))
        metrics.expired(2)
        after = await figures(listen)
    reporting.cancel()
    assert after['clarion_attempts_total{channel="push",outcome="delivered",provider="figured"}'] == 1
    assert after['clarion_attempts_total{channel="push",outcome="dead",provider=""}'] == 1
    buckets = [f'clarion_attempt_seconds_bucket{{channel="push",le="{le}",provider="figured"}}' for le in LES]
    assert [after[bucket] for bucket in buckets] == [0, 1]
    assert after["clarion_expired_total"] - before["clarion_expired_total"] == 2
    assert after["clarion_dead_letters"] == 3
    assert [after[f'clarion_oldest_due_seconds{{channel="{one}"}}'] for one in Channel] == [12.5, 0, 0]
    assert [after[f'clarion_breaker_open{{provider="{one}"}}'] for one in states] == [1, 0, 0.5]


async def test_an_outage_does_not_end_the_updates() -> None:
    clock, reads = FakeClock(), 0

    async def read_backlog() -> tuple[dict[Channel, float], int]:
        nonlocal reads
        reads += 1
        raise StoreUnavailable

    reporting = asyncio.create_task(metrics.report(read_backlog, dict, clock))
    await clock.run_until(lambda: reads == 3, within=2 * metrics.INTERVAL)
    assert not reporting.done()
    reporting.cancel()
