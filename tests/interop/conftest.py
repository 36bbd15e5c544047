"""Other makers' tools, installed once and kept in pytest's cache, and a running Clarion."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from tests.kit.commands import run_program
from tests.kit.stack import Stack, running_stack

HERE = Path(__file__).parent
UV = Path(sys.executable).with_name("uv")
INSTALLING = 540
"""Seconds, at most."""


async def run(
    *words: str | Path, folder: Path, seconds: float = 240, env: Mapping[str, str] | None = None
) -> str:
    """Run a command and return its output."""
    environment = {**os.environ, "NO_PROXY": "127.0.0.1", "REDOCLY_TELEMETRY": "off", **(env or {})}
    done = await run_program(*words, folder=folder, env=environment, seconds=seconds)
    assert done.code == 0, done.out + done.err
    return done.out + done.err


def cached(config: pytest.Config, pins: Path) -> Path:
    """Return the folder of what is installed from a file of pinned versions."""
    assert config.cache
    return config.cache.mkdir(f"interop-{hashlib.sha256(pins.read_bytes()).hexdigest()[:16]}")


@pytest.fixture(scope="session")
async def node(pytestconfig: pytest.Config) -> Path:
    """Return a folder with the tools of npm."""
    if not shutil.which("npm"):
        pytest.skip("npm is not installed")
    folder = cached(pytestconfig, HERE / "package.json")
    if not (folder / "installed").exists():
        shutil.copy(HERE / "package.json", folder)
        options = ("--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock")
        await run("npm", "install", *options, folder=folder, seconds=INSTALLING)
        (folder / "installed").touch()
    return folder


@pytest.fixture(scope="session")
async def tools(pytestconfig: pytest.Config) -> Path:
    """Return the `bin` of an environment with the tools of Python."""
    folder = cached(pytestconfig, HERE / "requirements.txt")
    if not (folder / "installed").exists():
        await run(UV, "venv", "--quiet", "--clear", "--python", sys.executable, "venv", folder=folder)
        install = (UV, "pip", "install", "--quiet", "--python", "venv/bin/python")
        await run(*install, "-r", HERE / "requirements.txt", folder=folder, seconds=INSTALLING)
        (folder / "installed").touch()
    return folder / "venv/bin"


@pytest.fixture(scope="session")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    async with running_stack(tmp_path_factory.mktemp("interop")) as running:
        yield running
