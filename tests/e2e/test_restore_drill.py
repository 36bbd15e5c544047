"""A lost database is restored, and nothing is sent twice unbidden: a short form of `make faults`."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.faults.restore import TO_A_TIME, Result, restore

pytestmark = pytest.mark.xdist_group("failover")


@pytest.mark.long
async def test_a_restored_database_sends_what_the_operator_releases(short: Path) -> None:
    result = await restore(TO_A_TIME, short / "run")
    assert result.wrong == []
    assert min(result.accepted, result.lost, result.replayed, result.cancelled, result.sent_again) > 0
    assert result.held_mails == 0


def test_what_a_run_reports_as_failed() -> None:
    result = Result("to a time", accepted=9)
    assert "FAILED" not in str(result)
    result.expect("sent while held", found=1, wanted=0)
    result.expect("second hold", found=2, wanted=2)
    assert str(result).endswith("FAILED (sent while held: 1, not 0)")
