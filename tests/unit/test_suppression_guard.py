"""A wave of refused recipients stops being believed, and is believed again when it is over."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

import pytest
from structlog.testing import capture_logs

from server.dispatcher.providers.base import SendingPolicy
from server.dispatcher.suppression_guard import PERIOD, WINDOW, SuppressionGuard, SuppressionGuards
from server.domain.delivery import AttemptOutcome
from server.domain.delivery_errors import ProviderError, Verdict
from server.metrics import REGISTRY
from tests.kit.clock import FakeClock
from tests.kit.dispatch import (
    MemoryQueue,
    ScriptedProvider,
    campaigns_through,
    make_trigger,
    outcomes,
    running,
)

LIMIT = 25
REFUSED = "550 5.1.1 unknown"
Logs = list[MutableMapping[str, Any]]


def guard_after(*, refused: int, accepted: int, limit: int = LIMIT, at: float = 0.0) -> SuppressionGuard:
    """Return a guard that has recorded refused recipients, then accepted messages."""
    guard = SuppressionGuard(limit)
    for number in range(refused + accepted):
        guard.record(at, refused=number < refused)
        guard.is_paused(at)
    return guard


@pytest.mark.parametrize(
    ("refused", "accepted", "paused"),
    [
        (LIMIT, 0, False),
        (LIMIT + 1, 0, True),
        (LIMIT + 1, WINDOW - LIMIT - 1, True),  # paused until half of them are out of the window
        (LIMIT + 1, WINDOW - LIMIT + 12, True),
        (LIMIT + 1, WINDOW - LIMIT + 13, False),
    ],
)
def test_more_refusals_than_the_limit_pause(refused: int, accepted: int, *, paused: bool) -> None:
    assert guard_after(refused=refused, accepted=accepted).is_paused(0.0) is paused


def test_a_usual_share_of_refusals_never_pauses() -> None:
    guard = SuppressionGuard(LIMIT)
    for number in range(10_000):
        guard.record(0.0, refused=number % 10 == 0)
        assert not guard.is_paused(0.0)
    assert guard.refused(0.0) == WINDOW / 10


def test_old_refusals_do_not_count() -> None:
    guard = guard_after(refused=LIMIT + 1, accepted=0)
    assert guard.is_paused(PERIOD - 1)
    assert not guard.is_paused(PERIOD)
    guard.record(PERIOD, refused=True)
    assert (guard.is_paused(PERIOD), guard.refused(PERIOD)) == (False, 1)


def test_without_a_limit_nothing_pauses() -> None:
    assert not guard_after(refused=WINDOW, accepted=0, limit=0).is_paused(0.0)


def figure(name: str) -> float | None:
    return REGISTRY.get_sample_value(name, {"provider": "waved"})


def events(logs: Logs) -> list[str]:
    return [one["event"] for one in logs if one["event"].startswith("suppression_")]


async def test_a_wave_suppresses_only_its_first_recipients() -> None:
    queue = MemoryQueue()
    errors = [ProviderError(Verdict.RECIPIENT_REFUSED, REFUSED) for _ in range(50)]
    provider = ScriptedProvider("waved", *errors, policy=SendingPolicy(breaker_failures=0))
    with capture_logs() as logs:
        async with running(queue, provider, campaigns=campaigns_through("waved")):
            queue.add(*[make_trigger() for _ in range(50)], provider="waved")
            await queue.until_attempts(50)
            assert figure("clarion_suppression_paused") == 1
            queue.add(*[make_trigger() for _ in range(WINDOW)], provider="waved")
            await queue.until_attempts(50 + WINDOW)
    assert figure("clarion_suppression_paused") == 0
    assert figure("clarion_suppressions_total") == LIMIT
    assert figure("clarion_suppressions_withheld_total") == 50 - LIMIT
    refusals = [one.refusal for one in queue.attempts[:50]]
    assert refusals == [REFUSED] * LIMIT + [""] * (50 - LIMIT)
    assert outcomes(queue)[:50] == [AttemptOutcome.DEAD] * 50
    assert queue.attempts[49].attempt.error == (
        f"the recipient is not suppressed, because the provider refuses too many: {REFUSED}"
    )
    assert events(logs) == ["suppression_paused", "suppression_resumed"]
    assert [
        (one["provider"], one["refused"], one["undo"]) for one in logs if one["event"] == "suppression_paused"
    ] == [("waved", LIMIT + 1, "clarion suppressions remove --all --provider waved --since TIME")]


@pytest.mark.parametrize("by_provider", [True, False])
def test_only_answers_about_messages_count(*, by_provider: bool) -> None:
    guards, provider = SuppressionGuards(FakeClock()), ScriptedProvider("idle", policy=SendingPolicy())
    others = [
        ProviderError(Verdict.PROVIDER_DOWN, "down"),
        ProviderError(Verdict.IN_DOUBT, "no answer"),
        ProviderError(Verdict.NEVER, "too long", reached_provider=False),
    ]
    refused = ProviderError(Verdict.RECIPIENT_REFUSED, REFUSED, reached_provider=by_provider)
    verdicts, reached = [], []
    with capture_logs():
        for _ in range(LIMIT + 1):
            judged = guards.judge(provider, refused)
            verdicts.append(judged.verdict)
            reached.append(judged.reached_provider)
            for error in others * WINDOW:
                assert guards.judge(provider, error) is error
    assert verdicts == [Verdict.RECIPIENT_REFUSED] * LIMIT + [Verdict.NEVER]
    assert reached == [by_provider] * (LIMIT + 1)


def test_paused_providers_are_named() -> None:
    guards = SuppressionGuards()
    for name, refused in (("waved", LIMIT + 1), ("usual", LIMIT)):
        provider = ScriptedProvider(name)
        for _ in range(refused):
            guards.judge(provider, ProviderError(Verdict.RECIPIENT_REFUSED, REFUSED))
    assert guards.paused() == {"waved"}
