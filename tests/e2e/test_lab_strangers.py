"""A short form of `python -m lab.strangers`: the attacks run, and a good key is served while they do."""

from __future__ import annotations

import itertools
import time
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from lab.command import temporary_run
from lab.process import lab_process
from lab.product import Deployment, Product, product
from lab.strangers.__main__ import Result, Served, as_table, serve_good_key
from lab.strangers.attacks import ATTACKS
from lab.strangers.busy import be_busy
from lab.strangers.keyed import KEYED_ATTACKS, write_campaigns
from server.up.data_folder import RunDir

pytestmark = pytest.mark.xdist_group("strangers")


@pytest.fixture(scope="module")
async def system(
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[tuple[RunDir, Product, Deployment]]:
    with temporary_run(tmp_path_factory.mktemp("strangers")) as run:
        patient = {"server": {"deadline": 30.0}}
        async with (
            product(run, settings=patient) as made,
            made.serving(latency_target=60.0, request_timeout=30.0) as deployment,
        ):
            yield run, made, deployment


@pytest.mark.long  # tests/contract/gateway/test_strangers.py and test_greedy_callers.py are the short forms
@pytest.mark.parametrize("attack", [*ATTACKS, *KEYED_ATTACKS])
async def test_good_key_is_served_during(system: tuple[RunDir, Product, Deployment], attack: str) -> None:
    run, made, deployment = system
    other = await made.with_campaigns(write_campaigns(run.log), {})
    attacker = lab_process(
        "attack", run.log, "strangers.attacks", attack, deployment.port, other.key, ready="attacking"
    )
    async with attacker.running():
        served = await serve_good_key(deployment.port, made.key, seconds=1)
    assert served.sent == served.accepted == 10


def test_stand_in_for_an_attacker_uses_no_more_cpu() -> None:
    share = 0.3
    began = time.monotonic()
    for used in itertools.takewhile(lambda used: used < 0.05, be_busy(share)):
        assert used <= share * (time.monotonic() - began) + 0.001


def test_table_names_missed_targets() -> None:
    quiet = Served(sent=100, accepted=100, p99_ms=10)
    baseline = replace(quiet, p99_ms=20, delivery_ms=5)
    during = {
        "slow": replace(baseline, p99_ms=61),
        "refused": replace(baseline, accepted=98),
        "late": replace(baseline, delivery_ms=16),
        "harmless": replace(baseline, accepted=99, p99_ms=60),
    }
    results = [Result(name, quiet, attacked, baseline, 0.5) for name, attacked in during.items()]
    assert [one.met for one in results] == [False, False, False, True]
    assert [line.rsplit("|", 2)[1].strip() for line in as_table(results).splitlines()[2:]] == [
        "NO",
        "NO",
        "NO",
        "yes",
    ]
