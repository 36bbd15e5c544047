"""The dispatcher's metrics."""

from __future__ import annotations

import asyncio
import datetime as dt
from pathlib import Path

from prometheus_client import generate_latest
from structlog.testing import capture_logs

from server.dispatcher import metrics
from server.dispatcher.circuit_breaker import BreakerState
from server.domain.campaign import Channel
from server.domain.delivery import Attempt, AttemptOutcome
from server.domain.figures import Crowd, DatabaseFigures, QueueFigures, QueueState, TableRows
from server.errors import StoreUnavailable
from server.metrics import REGISTRY
from tests.kit.clock import FakeClock
from tests.kit.prometheus import parsed
from tests.kit.store import a_trigger
from tests.kit.until import until

LES = (0.01, 0.025)
"""Bounds of two buckets, in seconds."""
CROWD = Crowd(Channel.EMAIL, "noisy", 0.9, ("shop",))
QUEUE = QueueFigures({Channel.EMAIL: 12.5}, {(Channel.TEXT, QueueState.LATER): 7}, 3, 4, [CROWD])
DATABASE = DatabaseFigures(5, 100, 2**30, 2.0**40, 1.5, {"queue": TableRows(10, 20)})
Figures = tuple[QueueFigures, DatabaseFigures]


def read() -> dict[str, float]:
    return parsed(generate_latest(REGISTRY).decode())


async def test_figures_of_queue_database_and_breakers() -> None:
    async def read_figures() -> Figures:
        return QUEUE, DATABASE

    states = {"figured": BreakerState.OPEN, "closed": BreakerState.CLOSED, "half": BreakerState.HALF_OPEN}
    reporting = asyncio.create_task(metrics.report(read_figures, lambda: states, lambda: {"slow": 7.5}))
    await until(lambda: read().get("clarion_dead_letters") == 3, "the figures are reported")
    reporting.cancel()
    found = read()
    assert [found[f'clarion_oldest_due_seconds{{channel="{one}"}}'] for one in Channel] == [12.5, 0, 0]
    assert found['clarion_queued_triggers{channel="text",state="later"}'] == 7
    assert found['clarion_queued_triggers{channel="text",state="due"}'] == 0
    assert found["clarion_webhooks_waiting"] == 4
    assert found['clarion_crowding_share{channel="email",project="noisy"}'] == 0.9
    assert found['clarion_provider_median_seconds{provider="slow"}'] == 7.5
    assert found["clarion_database_reachable"] == 1
    assert found["clarion_database_size_bytes"] == 2**30
    assert found['clarion_database_rows{state="dead",table="queue"}'] == 20
    assert [found[f'clarion_breaker_open{{provider="{one}"}}'] for one in states] == [1, 0, 0.5]


async def test_attempts_are_counted_and_timed() -> None:
    now = dt.datetime.now(dt.UTC)
    trigger = a_trigger(channel=Channel.PUSH, accepted_at=now - dt.timedelta(seconds=3))
    before = read()
    metrics.attempted(trigger, Attempt(1, "figured", AttemptOutcome.DELIVERED, now, 0.02))
    metrics.attempted(trigger, Attempt(2, "figured", AttemptOutcome.RETRY, now, 0.02))
    without_provider = Attempt(3, "figured", AttemptOutcome.DEAD, now, 0.02, reached_provider=False)
    metrics.attempted(trigger, without_provider)
    metrics.expired(2)
    after = read()
    assert after['clarion_attempts_total{channel="push",outcome="delivered",provider="figured"}'] == 1
    assert after['clarion_attempts_total{channel="push",outcome="dead",provider=""}'] == 1
    buckets = [f'clarion_attempt_seconds_bucket{{channel="push",le="{le}",provider="figured"}}' for le in LES]
    assert [after[bucket] for bucket in buckets] == [0, 2]
    assert after["clarion_expired_total"] - before["clarion_expired_total"] == 2
    sent = 'clarion_accepted_to_sent_seconds_{}{{channel="push",provider="figured"}}'
    assert after[sent.format("count")] == 1, "only what was delivered"
    assert round(after[sent.format("sum")], 2) == 3.02


async def test_a_scheduled_message_is_timed_from_its_schedule() -> None:
    now = dt.datetime.now(dt.UTC)
    accepted_at, send_at = now - dt.timedelta(hours=9), now - dt.timedelta(seconds=2)
    trigger = a_trigger(accepted_at=accepted_at, send_at=send_at)
    metrics.attempted(trigger, Attempt(1, "scheduled", AttemptOutcome.DELIVERED, now, 0.5))
    assert read()['clarion_accepted_to_sent_seconds_sum{channel="email",provider="scheduled"}'] == 2.5


async def test_campaigns_are_counted_only_on_request() -> None:
    attempt = Attempt(1, "figured", AttemptOutcome.DELIVERED, dt.datetime.now(dt.UTC), 0.02)
    metrics.attempted(a_trigger(campaign_id=777), attempt)
    assert not [name for name in read() if 'campaign="777"' in name]
    metrics.attempted(a_trigger(campaign_id=777), attempt, by_campaign=True)
    assert [name for name in read() if 'campaign="777"' in name and "_total" in name]


async def test_an_outage_or_a_fault_does_not_end_the_updates() -> None:
    clock, reads = FakeClock(), 0

    async def read_figures() -> Figures:
        nonlocal reads
        reads += 1
        raise StoreUnavailable if reads < 3 else RuntimeError

    with capture_logs() as logs:
        reporting = asyncio.create_task(metrics.report(read_figures, dict, dict, clock))
        await clock.run_until(lambda: reads == 3, within=2 * metrics.INTERVAL)
    assert not reporting.done()
    reporting.cancel()
    assert read()["clarion_database_reachable"] == 0
    assert [one["event"] for one in logs] == ["figures not read"]


def test_the_disk_of_a_folder_that_does_not_exist_yet(tmp_path: Path) -> None:
    metrics.watch_disk(tmp_path / "later" / "data")
    found = read()
    assert 0 < found["clarion_data_disk_free_bytes"] < found["clarion_data_disk_size_bytes"]
