"""Envoy or the gateway is killed: Envoy is started again, and nothing is left in the temporary folder."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import httpx
import pytest

from gateway import running
from gateway.run import service
from gateway.run.folder import private_folder
from gateway.run.service import keep_running
from gateway.run.shared_memory import ID_FILE, SHARED_MEMORY
from tests.kit.gateway import ToyStack, options_for, trigger
from tests.kit.http_client import http_client
from tests.kit.until import until

HOLDER = """
import sys
from gateway.run.folder import private_folder
with private_folder() as folder:
    print(folder, flush=True)
    sys.stdin.read()
"""


async def test_a_killed_envoy_is_started_again(toy_stack: ToyStack) -> None:
    said: list[str] = []
    with tempfile.TemporaryDirectory() as path:
        options = options_for(Path(path), *toy_stack.options.upstreams)
        async with running(options, workdir=Path(path)) as gateway:
            kept = asyncio.create_task(keep_running(gateway, said.append))
            killed = set[int]()
            async with http_client(f"http://127.0.0.1:{options.port}") as client:

                async def serves_again() -> bool:
                    try:
                        return gateway.pid not in killed and (await trigger(client)).status_code == 204
                    except httpx.TransportError:
                        return False

                for _ in range(2):
                    killed.add(gateway.pid)
                    os.kill(gateway.pid, signal.SIGKILL)
                    await until(serves_again, "a new Envoy serves")
            assert await gateway.stop() == 0
            assert await asyncio.wait_for(kept, 60) == 0
    assert said.count("Envoy ended unexpectedly with exit code -9; starting it again") >= 2


async def test_an_envoy_that_always_ends_is_given_up(
    toy_stack: ToyStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "PAUSES", (0.0,))
    said: list[str] = []
    with tempfile.TemporaryDirectory() as path:
        options = options_for(Path(path), *toy_stack.options.upstreams)
        async with running(options, workdir=Path(path)) as gateway:
            monkeypatch.setattr("gateway.run.runner.command", lambda *_: [sys.executable, "-c", "1/0"])
            os.kill(gateway.pid, signal.SIGKILL)
            assert await asyncio.wait_for(keep_running(gateway, said.append), 60) == 1
    assert any(line.startswith("cannot start Envoy: ") for line in said)


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


def test_the_folder_of_a_killed_gateway_is_removed(temporary: Path) -> None:
    pipe = subprocess.PIPE
    process = subprocess.Popen([sys.executable, "-c", HOLDER], stdin=pipe, stdout=pipe, text=True)
    assert process.stdout
    folder = Path(process.stdout.readline().strip())
    with private_folder() as mine:
        assert {folder, mine} == set(temporary.iterdir())  # the other one is in use
        assert stat.S_IMODE(mine.stat().st_mode) == 0o700
    (folder / ID_FILE).write_text("987654321")
    memory = SHARED_MEMORY / "envoy_shared_memory_9876543210"
    if os.access(SHARED_MEMORY, os.W_OK):
        memory.touch()
    process.kill()
    process.communicate()
    with private_folder() as mine:
        assert set(temporary.iterdir()) == {mine}
    assert not memory.exists()
    assert not list(temporary.iterdir())


def test_only_own_folders_are_removed(temporary: Path) -> None:
    target = temporary / "target"
    target.mkdir()
    (temporary / "clarion-gateway-link").symlink_to(target)
    (temporary / "clarion-gateway-file").touch()
    with private_folder():
        pass
    names = {path.name for path in temporary.iterdir()}
    assert names == {"target", "clarion-gateway-link", "clarion-gateway-file"}
