"""The supervisor waits while the disk is full or an external database is unavailable."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
from pathlib import Path

import pytest

from server.errors import DATABASE_AWAY
from server.up.supervisor import Child, RestartPolicy, Supervisor
from server.up.supervisor.obstacle import find_obstacle
from tests.contract.test_supervisor import Messages, stopped
from tests.kit.children import written

QUICK = RestartPolicy(first=0.01, longest=0.02, quick_deaths=3, retry=0.01)


def dependent(tmp_path: Path, problem: str) -> Child:
    """A child that ends with this message while there is a file `problem`."""
    code = (
        "import os, sys, time\n"
        "print('start', os.getpid(), flush=True)\n"
        "if os.path.exists(sys.argv[1]): sys.exit(sys.argv[2])\n"
        "print('here', flush=True); time.sleep(600)\n"
    )
    lives = 0

    async def ready() -> None:
        nonlocal lives
        await written(tmp_path / "child.log", "here", times=lives + 1)
        lives += 1

    return Child(
        name="child",
        command=[sys.executable, "-u", "-c", code, str(tmp_path / "problem"), problem],
        ready=ready,
    )


@pytest.mark.parametrize("text", ["could not write: No space left on device", "Disk quota exceeded"])
async def test_full_disk_is_waited_for(tmp_path: Path, text: str) -> None:
    messages, log = Messages(), tmp_path / "child.log"
    (tmp_path / "problem").touch()
    supervisor = Supervisor([dependent(tmp_path, text)], tmp_path, messages, policy=QUICK)
    running = asyncio.create_task(supervisor.run())
    await written(log, "start", times=2 * QUICK.quick_deaths)
    (tmp_path / "problem").unlink()
    await messages.wait_for("child is ready")
    [report] = [message for message in messages.texts if "is full" in message]
    assert "waiting for space" in report
    assert f"  | {text}" in report
    assert await stopped(supervisor, running) == 0


async def test_database_that_went_away_is_waited_for(tmp_path: Path) -> None:
    messages, log = Messages(), tmp_path / "child.log"
    child = dependent(tmp_path, f"clarion: {DATABASE_AWAY}; check database.url")
    supervisor = Supervisor([child], tmp_path, messages, policy=QUICK)
    running = asyncio.create_task(supervisor.run())
    pid = int((await written(log, "\n")).split()[1])
    await messages.wait_for("child is ready")
    (tmp_path / "problem").touch()
    os.kill(pid, signal.SIGKILL)
    await written(log, "start", times=1 + 2 * QUICK.quick_deaths)
    (tmp_path / "problem").unlink()
    await messages.wait_for("child is ready", times=2)
    assert str(messages).count("waiting for it") == 1
    assert await stopped(supervisor, running) == 0


async def test_database_that_never_answered_is_not_waited_for(tmp_path: Path) -> None:
    messages = Messages()
    (tmp_path / "problem").touch()
    supervisor = Supervisor([dependent(tmp_path, DATABASE_AWAY)], tmp_path, messages, policy=QUICK)
    assert await asyncio.wait_for(supervisor.run(), 60) == 1
    assert "giving up" in str(messages)


def test_nearly_full_disk_explains_any_death(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    total = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: total._replace(free=40 << 20))
    assert find_obstacle("exit code 1", tmp_path) is None
    monkeypatch.setattr(shutil, "disk_usage", lambda _: total._replace(free=10 << 20))
    assert "is full (10 MiB free)" in str(find_obstacle("exit code 1", tmp_path))
