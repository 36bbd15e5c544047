"""A short form of `python -m lab.faults.night`, and what the drill promises about each incident."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from lab.faults.night.__main__ import check, main
from lab.faults.night.incidents import INCIDENTS
from lab.faults.night.world import world
from tests.kit.prometheus import program
from tests.unit.test_observability import NAMES

pytestmark = pytest.mark.long


def test_each_incident_has_an_alert_with_a_runbook() -> None:
    assert len(INCIDENTS) == 10
    for incident in INCIDENTS.values():
        assert incident.runbook in NAMES
        assert re.compile(incident.text)


def test_an_unknown_incident_is_rejected() -> None:
    done = CliRunner().invoke(main, ["--incident", "flood"])
    assert done.exit_code == 2
    assert "'flood' is not one of 'provider-down'" in done.output


async def test_status_and_alerts_name_causes_and_clear(tmp_path: Path) -> None:
    program("prometheus")
    async with world(tmp_path) as made:
        for name in ("wrong-password", "receiver-down"):
            found = await check(name, INCIDENTS[name], made)
            assert found.passed, str(found)
