"""The guarantees of acceptance across a failover, by a short form of `make faults`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from lab.faults.database import LIMIT, Result, break_database

pytestmark = pytest.mark.xdist_group("failover")


@pytest.mark.long  # tests/contract/store/test_failover.py and test_replication.py are its short forms
async def test_a_204_survives_the_loss_of_the_primary(short: Path) -> None:
    """Also if an operator ends waits for the replica."""
    result = await break_database("ended waits", short / "run")
    assert result.accepted > 200
    assert result.missing == result.undelivered == result.excessive == 0


def test_what_a_run_reports_as_failed() -> None:
    good = Result("hung primary", 9, 0, LIMIT, 0, 0, {"503": 2})
    assert good.passed
    assert str(good) == (
        "hung primary: 9 accepted, 0 missing, 0 undelivered, 0 delivered more than 2 times,"
        " first 204 after 5.0 s (503: 2)"
    )
    changes: tuple[dict[str, Any], ...] = (
        {"missing": 1}, {"seconds": LIMIT + 1}, {"undelivered": 1}, {"excessive": 1},
    )  # fmt: skip
    for change in changes:
        bad = dataclasses.replace(good, **change)
        assert not bad.passed
        assert str(bad).endswith("FAILED")
