"""The tools of deploy/tools.lock, which `make` installs."""

from __future__ import annotations

import asyncio
import fcntl
import os
from pathlib import Path

import pytest

from tests.kit.commands import run_program

ROOT = Path(__file__).parents[2]
INSTALLING = 900
"""Seconds, at most."""


@pytest.fixture(scope="session")
async def ship() -> Path:
    """Return the `bin` of the environment with the tools, which one test process installs for all."""
    with (ROOT / ".venv-ship.lock").open("w") as lock:
        await asyncio.to_thread(fcntl.flock, lock, fcntl.LOCK_EX)
        done = await run_program(
            "make", ".venv-ship/ready", folder=ROOT, env=dict(os.environ), seconds=INSTALLING
        )
    assert done.code == 0, done.out + done.err
    return ROOT / ".venv-ship/bin"
