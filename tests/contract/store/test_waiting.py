"""What a trigger waits for, read from the queue and the reports of dispatchers."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping

import pytest

from server.domain.campaign import SendWindow
from server.domain.delivery import AttemptOutcome
from server.domain.placement import Placement
from server.domain.trigger import Trigger
from server.domain.waiting import Hold, ProviderStatus, Reason, Waiting, suppression_paused
from server.store.admin.campaigns import apply_campaigns
from server.store.pool import Pool
from server.store.presence import Presence
from server.store.queue.triggers import PostgresQueue
from server.store.records.waiting import find_lane_waits, find_providers, find_reports, find_waiting
from tests.kit.store import a_campaign, a_trigger, accept, ended, shares

HOUR = dt.timedelta(hours=1)


@pytest.fixture(autouse=True)
async def no_processes(pool: Pool) -> None:
    await pool.execute("TRUNCATE server_process")


async def report(pool: Pool, **providers: ProviderStatus) -> None:
    """Let a dispatcher report the status of its providers."""
    status: Mapping[str, ProviderStatus] = providers
    await Presence(pool, lambda _: None, role="dispatcher", status=lambda: status).beat()


async def waiting(pool: Pool, trigger: Trigger) -> Waiting:
    _, reports = await find_reports(pool)
    found = await find_waiting(pool, trigger.id, reports)
    assert found
    return found


async def paused(pool: Pool) -> set[str]:
    return suppression_paused((await find_reports(pool))[1])


async def test_a_due_trigger_waits_for_what_dispatchers_report(pool: Pool) -> None:
    first, second = a_trigger(), a_trigger()
    await accept(pool, first)
    await accept(pool, second)
    await Presence(pool, lambda _: None, role="server").beat()
    assert (await waiting(pool, second)).reason is Reason.NO_DISPATCHER
    await report(pool, smtp=ProviderStatus())
    assert (await waiting(pool, second)).reason is Reason.NO_PROVIDER
    await report(pool, sandbox=ProviderStatus(Hold.BREAKER, 30.0, error="no connection"))
    found = await waiting(pool, second)
    assert (found.reason, found.detail) == (
        Reason.BREAKER_OPEN,
        "the circuit breaker of sandbox is open: no connection",
    )
    assert found.until
    await report(pool, sandbox=ProviderStatus())
    assert await waiting(pool, second) == Waiting(Reason.DUE, "sandbox can send it now; 1 is due before it")
    await pool.execute("UPDATE server_process SET seen_at = now() - interval '11 s'")
    assert (await waiting(pool, second)).reason is Reason.NO_DISPATCHER


async def test_a_dispatcher_of_an_older_version_reports_nothing(pool: Pool) -> None:
    trigger = a_trigger()
    await accept(pool, trigger)
    await pool.execute(
        "INSERT INTO server_process (id, seen_at, role) VALUES ($1, now(), 'dispatcher')", trigger.id
    )
    assert (await waiting(pool, trigger)).detail.startswith("a dispatcher of an older version")


async def test_the_lane_is_that_of_the_campaign_now(pool: Pool) -> None:
    trigger = a_trigger()
    await accept(pool, trigger)
    await apply_campaigns(pool, [a_campaign(providers=("smtp",))])
    await report(pool, sandbox=ProviderStatus())
    assert "has the provider smtp" in (await waiting(pool, trigger)).detail


async def test_a_trigger_that_is_not_due_waits_for_its_time(pool: Pool) -> None:
    now = await pool.fetchval("SELECT now()")
    opens, closes = (f"{now + hours * HOUR:%H:%M}" for hours in (2, 3))
    await apply_campaigns(pool, [a_campaign(window=SendWindow(opens, closes))])
    later = a_trigger(send_at=now + HOUR)
    await accept(pool, later, place=Placement("email/sandbox", due_at=now + HOUR))
    assert await waiting(pool, later) == Waiting(
        Reason.SCHEDULED, f"its send_at is {(now + HOUR).isoformat()}", now + HOUR
    )
    opening = (now + 2 * HOUR).replace(second=0, microsecond=0)
    kept = a_trigger()
    await accept(pool, kept, place=Placement("email/sandbox", due_at=opening))
    found = await waiting(pool, kept)
    assert (found.reason, found.until) == (Reason.SEND_WINDOW, opening)


async def test_sent_and_failed_triggers_wait(pool: Pool) -> None:
    trigger = a_trigger()
    await accept(pool, trigger)
    queue = PostgresQueue(pool)
    [claim] = await queue.claim(shares(sandbox=1), 60)
    assert (await waiting(pool, trigger)).detail.startswith("a dispatcher is sending it through sandbox;")
    await queue.finish([ended(claim, AttemptOutcome.RETRY, retry_in=600, error="451 later")])
    assert (await waiting(pool, trigger)).reason is Reason.RETRY
    await pool.execute("UPDATE queue SET due_at = now()")
    [claim] = await queue.claim(shares(sandbox=1), 60)
    await queue.finish([ended(claim, AttemptOutcome.DELIVERED)])
    assert await find_waiting(pool, trigger.id, []) is None


async def test_lanes_wait_like_their_triggers(pool: Pool) -> None:
    assert await find_lane_waits(pool, []) == {}
    lanes = ["email/sandbox", "email/smtp"]
    found = await find_lane_waits(pool, lanes)
    assert [found[lane].reason for lane in lanes] == [Reason.NO_DISPATCHER] * 2
    await report(pool, sandbox=ProviderStatus())
    found = await find_lane_waits(pool, lanes)
    assert [found[lane].reason for lane in lanes] == [Reason.DUE, Reason.NO_PROVIDER]


async def test_paused_suppression_is_reported(pool: Pool) -> None:
    assert await paused(pool) == set()
    await report(pool, smtp=ProviderStatus(suppression_paused=True), sandbox=ProviderStatus())
    await report(pool, sandbox=ProviderStatus())
    assert await paused(pool) == {"smtp"}


async def test_providers_have_the_channels_of_all_dispatchers(pool: Pool) -> None:
    assert await find_providers(pool) is None
    await report(pool, _test=ProviderStatus(), smtp=ProviderStatus(channels=("email",)))
    await report(pool, smtp=ProviderStatus(channels=("email", "push")), old=ProviderStatus())
    assert await find_providers(pool) == {"smtp": {"email", "push"}, "old": frozenset()}
