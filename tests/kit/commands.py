"""Runs `clarion` commands, and other programs."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.kit import forker

__all__ = ["Result", "clarion", "installed_clarion", "run_program"]

CLARION = Path(sys.executable).with_name("clarion")
TIMEOUT = 120.0
"""Seconds for one command, on a busy machine."""


@dataclass(frozen=True)
class Result:
    """The exit code and the output of a command."""

    code: int
    out: str
    err: str


async def clarion(folder: Path, *words: str, **env: str) -> Result:
    """Run a command in a folder, without CLARION_ variables other than the given ones."""
    return Result(*await forker.run(words, folder=folder, env={**_kept(), **env}, seconds=TIMEOUT))


async def installed_clarion(folder: Path, *words: str, **env: str) -> Result:
    """Run a command as a user does, which takes a second longer."""
    return await run_program(CLARION, *words, folder=folder, env={**_kept(), **env})


async def run_program(
    *words: str | Path, folder: Path, env: Mapping[str, str], seconds: float = TIMEOUT
) -> Result:
    """Run any program to its end, and stop what it leaves behind.

    Args:
        words: The program and its arguments.
        folder: Where to run it.
        env: Its whole environment.
        seconds: When to give up.
    """
    process = await asyncio.create_subprocess_exec(
        *map(str, words),
        cwd=folder,
        env=env,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(seconds):
            out, err = await process.communicate()
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode is not None
    return Result(process.returncode, out.decode(), err.decode())


def _kept() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("CLARION_")}
