"""Starts `clarion up` of any checkout, as an operator would.

Tests and the comparison of two checkouts use it. `lab.product` starts single parts instead.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import tomlkit

from .errors import LabError

__all__ = ["ClarionUp"]

_START_SECONDS = 60.0
_STOP_SECONDS = 15.0
_COMMAND_SECONDS = 30.0
_UP = "Ctrl-C"
"""The last line of `clarion up` once everything runs has this text."""
_LATENCY_TARGET = 1.0  # on a busy machine calls are slow, and the gateway would refuse some


@dataclass
class ClarionUp:
    """A `clarion up` with its own folder and port."""

    folder: Path
    port: int
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Settings for `clarion.toml`, as nested tables."""
    python: Path = Path(sys.executable)
    """The interpreter of the environment in which Clarion is installed."""
    options: tuple[str, ...] = ()
    """Options of `clarion up`."""
    output: list[str] = field(default_factory=list)
    process: asyncio.subprocess.Process | None = None
    _reader: asyncio.Task[None] | None = None

    @property
    def data(self) -> Path:
        """The data folder."""
        return self.folder / ".clarion"

    @property
    def config(self) -> Path:
        """The configuration file."""
        return self.folder / "clarion.toml"

    @property
    def environment(self) -> dict[str, str]:
        """This process's environment without settings of Clarion."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("CLARION_")}
        return {**kept, "PYTHONUNBUFFERED": "1"}

    async def start(self) -> None:
        """Start everything, and wait until it runs.

        Raises:
            LabError: it ended, or did not start within a minute.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self.config.write_text(tomlkit.dumps(self._with_gateway()))
        self.output.clear()
        self.process = await asyncio.create_subprocess_exec(
            *self._command("up", *self.options),
            cwd=self.folder,
            env=self.environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        self._reader = asyncio.create_task(self._read())
        await self.until_printed(_UP, _START_SECONDS)

    async def stop(self, number: int = signal.SIGTERM) -> int:
        """Stop everything with a signal; return the exit code."""
        if self.process is None:
            return 0
        with suppress(ProcessLookupError):
            self.process.send_signal(number)
        async with asyncio.timeout(_STOP_SECONDS):
            code = await self.process.wait()
        if self._reader:
            await self._reader
        self.process = None
        return code

    async def until_printed(self, text: str, seconds: float) -> None:
        """Wait until the output contains a text.

        Raises:
            LabError: the process ended before, or the text did not appear in time.
        """
        try:
            async with asyncio.timeout(seconds):
                while not any(text in line for line in self.output):
                    assert self._reader is not None  # noqa: S101 - started before
                    if self._reader.done():
                        raise LabError(f"ended before it printed {text!r}:\n{''.join(self.output)}")
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise LabError(f"did not print {text!r}:\n{''.join(self.output)}") from None

    async def run(self, *words: str, **env: str) -> tuple[int, str, str]:
        """Run another `clarion` command with the same configuration; return exit code, stdout and stderr."""
        process = await asyncio.create_subprocess_exec(
            *self._command(*words),
            cwd=self.folder,
            env={**self.environment, **env},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(_COMMAND_SECONDS):
            out, err = await process.communicate()
        assert process.returncode is not None  # noqa: S101 - it has ended
        return process.returncode, out.decode(), err.decode()

    async def check(self, *words: str, **env: str) -> str:
        """Run another command; return what it printed.

        Raises:
            LabError: the command failed.
        """
        code, out, err = await self.run(*words, **env)
        if code:
            raise LabError(f"clarion {' '.join(words)} failed: {err.strip()}")
        return out

    def children(self) -> dict[str, psutil.Process]:
        """Return the supervisor's child processes by the command that they run, or `postgres`."""
        assert self.process is not None  # noqa: S101 - started before
        found: dict[str, psutil.Process] = {}
        for child in psutil.Process(self.process.pid).children():
            with suppress(psutil.Error):  # it has just ended
                words = {Path(word).name for word in child.cmdline()}  # PostgreSQL's has its path
                for role in words & {"postgres", "serve", "dispatch", "gateway"}:
                    found.setdefault(role, child)
        return found

    def _command(self, *words: str) -> list[str]:
        return [str(self.python), "-P", "-m", "server", "--config", str(self.config), *words]

    def _with_gateway(self) -> dict[str, Any]:
        gateway = {"port": self.port, "latency_target": _LATENCY_TARGET, **self.settings.get("gateway", {})}
        return {**self.settings, "gateway": gateway}

    async def _read(self) -> None:
        assert self.process is not None  # noqa: S101 - started before
        assert self.process.stdout is not None  # noqa: S101 - a pipe
        async for line in self.process.stdout:
            self.output.append(line.decode(errors="replace"))
