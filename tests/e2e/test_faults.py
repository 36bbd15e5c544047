"""The promises of delivery, in the short form of `make faults`."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator

import pytest

from lab.faults.load import Load
from lab.faults.phases import kill_phase, stop_phase
from lab.faults.plan import Plan
from lab.product.faults_sink import read_mails
from lab.product.product import Product, running

pytestmark = pytest.mark.xdist_group("faults")
PLAN = Plan(seed=1, rounds=2, stops=2, victims=("dispatcher", "both"), callers=8, longest=0.6)
CHANCE = random.Random(PLAN.seed)  # noqa: S311 - when to kill is no secret


@pytest.fixture(scope="module")
async def product(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Product]:
    async with running(tmp_path_factory.mktemp("faults"), PLAN.seed) as running_product:
        yield running_product


async def test_forty_triggers_for_one_user_and_campaign_at_once_are_forty_messages(product: Product) -> None:
    load = Load(product, "burst")
    await load.at_once(40)
    assert await product.until_idle(15) == 0

    assert not load.refused
    mails = [mail for mail in read_mails(product.mails) if mail.subject.startswith("burst-")]
    assert sorted(mail.subject for mail in mails) == sorted(load.accepted)
    wanted = {f"<{number}@clarion.clarion.example>" for number in load.accepted.values()}
    assert {mail.message_id for mail in mails} == wanted
    assert len(mails) == len(wanted) == 40


async def test_a_kill_under_load_loses_nothing_and_doubles_only_what_was_in_flight(product: Product) -> None:
    phase = await kill_phase(product, PLAN, CHANCE, print)

    assert phase.done.total() == PLAN.rounds
    assert phase.verdict
    assert phase.verdict.accepted > 100
    assert phase.verdict.in_flight > 0, "the kills met nothing, so this shows nothing"
    assert phase.verdict.kept, phase.verdict


async def test_a_dispatcher_that_is_asked_to_end_under_load_makes_no_double(product: Product) -> None:
    phase = await stop_phase(product, PLAN, CHANCE, print)

    assert phase.verdict
    assert phase.verdict.accepted > 100
    assert phase.verdict.doubles == ()
    assert phase.verdict.mails == phase.verdict.accepted
    assert phase.verdict.kept, phase.verdict
