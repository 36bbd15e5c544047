"""The guarantees of delivery, by a short form of `make faults`."""

from __future__ import annotations

import itertools
import random
from collections.abc import AsyncIterator

import pytest

from lab.command import temporary_run
from lab.faults.load import RecordedLoad
from lab.faults.phases import Plan, kill_phase, stop_phase
from lab.faults.system import System, running_system
from tests.kit.until import TIMEOUT

pytestmark = [pytest.mark.long, pytest.mark.xdist_group("faults")]  # test_crash.py is the short form
PLAN = Plan(seed=1, kills=2, stops=2, targets=("dispatcher", "both"), callers=8, longest=0.6, least=101)
CHANCE = random.Random(PLAN.seed)  # noqa: S311 - when to kill is not a secret


@pytest.fixture(scope="module")
async def system(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[System]:
    with temporary_run(tmp_path_factory.mktemp("faults")) as run:
        async with running_system(run, PLAN.seed) as running:
            yield running


async def test_concurrent_calls_for_one_user_are_separate(system: System) -> None:
    load = RecordedLoad(system, "burst")
    await load.at_once(40)
    assert await system.drain(TIMEOUT) == 0

    assert not load.refused
    mails = system.mails("burst-")
    assert sorted(mail.subject for mail in mails) == sorted(load.accepted)
    expected = {f"<{trigger_id}@clarion.clarion.example>" for trigger_id in load.accepted.values()}
    assert {mail.message_id for mail in mails} == expected
    assert len(mails) == len(expected) == 40


async def test_kills_lose_nothing(system: System) -> None:
    """Only messages that were in flight at a kill may be duplicated."""
    for number in itertools.count():  # kills at random moments may interrupt nothing, which shows nothing
        phase = await kill_phase(system, PLAN, CHANCE, f"kill{number}")
        assert phase.rounds.total() == PLAN.kills
        assert phase.verdict
        assert phase.verdict.accepted > 100
        assert phase.verdict.passed, phase.verdict
        if phase.verdict.in_flight:
            break


async def test_stopping_the_dispatcher_duplicates_nothing(system: System) -> None:
    phase = await stop_phase(system, PLAN, CHANCE)

    assert phase.verdict
    assert phase.verdict.accepted > 100
    assert phase.verdict.duplicates == ()
    assert phase.verdict.mails == phase.verdict.accepted
    assert phase.verdict.passed, phase.verdict
