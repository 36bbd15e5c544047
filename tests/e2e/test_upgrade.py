"""Upgrading without a stop, by a short form of `python -m lab.faults.upgrade`."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from lab.faults.upgrade import upgrade
from lab.previous import PreviousReleaseMissing, previous_release
from server.up.data_folder import RunDir

BUILDS = Path(__file__).parents[2] / ".clarion"


@pytest.mark.long
async def test_two_versions_run_side_by_side(short: Path) -> None:
    """Servers first, back to the previous release, and dispatchers first."""
    try:
        python = await asyncio.to_thread(previous_release, BUILDS)
    except PreviousReleaseMissing as error:
        pytest.skip(str(error))
    with RunDir(short / "run") as run:
        run.log.mkdir(mode=0o700)
        found = await upgrade(run, python, calls=10)
    assert found.passed, str(found)
