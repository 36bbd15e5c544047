"""Starts `clarion up` of any checkout, as an operator would.

Used by tests and by the comparison of two checkouts. `lab.product` starts single parts instead.
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
from typing import Any, ClassVar

import psutil
import tomlkit

from .errors import LabError

__all__ = ["ClarionUp"]

_UP = "Ctrl-C"
"""Text in the last line that `clarion up` prints once everything is running."""
_LATENCY_TARGET = 1.0  # on a busy machine calls are slow, and the gateway would refuse some


@dataclass
class ClarionUp:
    """A `clarion up` with its own folder and port."""

    start_seconds: ClassVar[float] = 180.0
    stop_seconds: ClassVar[float] = 15.0
    command_seconds: ClassVar[float] = 30.0

    folder: Path
    port: int
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Settings for `clarion.toml`, as nested tables."""
    python: Path = Path(sys.executable)
    """The interpreter of the environment in which Clarion is installed."""
    options: tuple[str, ...] = ()
    """Options of `clarion up`."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """More environment variables of all its commands."""
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
        """This process's environment without settings of Clarion, and with `variables`."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("CLARION_")}
        return {**kept, "PYTHONUNBUFFERED": "1", **self.variables}

    async def start(self) -> None:
        """Start everything, and wait until it runs.

        Raises:
            LabError: it ended, or did not start within `start_seconds`.
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
        await self.until_printed(_UP)

    async def stop(self, number: int = signal.SIGTERM) -> int:
        """Stop everything with a signal; return the exit code."""
        if self.process is None:
            return 0
        with suppress(ProcessLookupError):
            self.process.send_signal(number)
        async with asyncio.timeout(self.stop_seconds):
            code = await self.process.wait()
        if self._reader:
            await self._reader
        self.process = None
        return code

    async def until_printed(self, text: str, *, since: int = 0) -> str:
        """Return the line that contains a text, once it is printed.

        Args:
            text: Part of a line.
            since: The number of lines to skip.

        Raises:
            LabError: the process ended without it, or did not print it within `start_seconds`.
        """
        try:
            async with asyncio.timeout(self.start_seconds):
                while (line := next((one for one in self.output[since:] if text in one), None)) is None:
                    if self._reader and self._reader.done():
                        raise LabError(f"ended without printing {text!r}:\n{''.join(self.output)}")
                    await asyncio.sleep(0.05)
                return line
        except TimeoutError:
            raise LabError(f"did not print {text!r}:\n{''.join(self.output[since:])}") from None

    async def run(self, *words: str, **env: str) -> tuple[int, str, str]:
        """Run another `clarion` command with the same configuration; return exit code, stdout and stderr."""
        process = await asyncio.create_subprocess_exec(
            *self._command(*words),
            cwd=self.folder,
            env={**self.environment, **env},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(self.command_seconds):
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

    async def child(self, role: str, *, after: psutil.Process | None = None) -> psutil.Process:
        """Return a child process, once the supervisor has (re)started it.

        Args:
            role: A key of `children()`.
            after: The process that this one replaces.

        Raises:
            LabError: there was none within `start_seconds`.
        """
        try:
            async with asyncio.timeout(self.start_seconds):
                while True:
                    found = self.children().get(role)
                    if found is not None and found != after:
                        return found
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise LabError(f"no {role} was started:\n{''.join(self.output)}") from None

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
