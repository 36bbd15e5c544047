"""One Envoy process: start it, relay its log, end it."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from .environment import basic_environment
from .export_errors import ExportErrors
from .launch import launcher

__all__ = ["END_SECONDS", "LAST_LINES", "Envoy"]

LAST_LINES = 8
"""How many lines of its log an error about Envoy quotes."""
END_SECONDS = 5.0
"""How long Envoy may take to end before it is killed."""


class Envoy:
    """A running Envoy."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        """Relay the log of an Envoy that was started with its standard error piped."""
        self._process = process
        self._last: deque[str] = deque(maxlen=LAST_LINES)
        self._relay = asyncio.create_task(self._relay_log())

    @classmethod
    async def start(cls, command: Sequence[str], folder: Path) -> Self:
        """Start Envoy in `folder`, to which relative paths in its configuration refer.

        It runs in its own session, so that Ctrl-C at a terminal reaches only this process, which drains it.
        If this process is killed, Linux kills Envoy.
        """
        process = await asyncio.create_subprocess_exec(
            *launcher(signal.SIGKILL),
            *command,
            cwd=folder,
            env=basic_environment(),
            stdin=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        return cls(process)

    @property
    def pid(self) -> int:
        """Envoy's process ID."""
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """Envoy's exit code; None while it runs."""
        return self._process.returncode

    @property
    def last_lines(self) -> str:
        """Envoy's last lines on standard error."""
        return "\n".join(self._last) or "(no output)"

    async def wait(self) -> int:
        """Wait until Envoy ends and return its exit code."""
        code = await self._process.wait()
        await asyncio.shield(self._relay)
        return code

    async def end(self) -> int:
        """Terminate Envoy, kill it if it does not end within `END_SECONDS`, and return its exit code."""
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        try:
            return await asyncio.wait_for(self.wait(), END_SECONDS)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            return await self._process.wait()

    async def _relay_log(self) -> None:
        assert self._process.stderr is not None  # noqa: S101  # opened as a pipe
        export_errors = ExportErrors()
        while raw := await self._next_line(self._process.stderr):
            line = export_errors.replaced(raw.decode(errors="replace").rstrip())
            if line:
                self._last.append(line)
                sys.stderr.write(line + "\n")

    @staticmethod
    async def _next_line(stream: asyncio.StreamReader) -> bytes:
        """Return a line, or a piece of one that exceeds the stream's buffer; nothing at the end."""
        try:
            return await stream.readuntil()
        except asyncio.IncompleteReadError as error:
            return error.partial
        except asyncio.LimitOverrunError as error:
            return await stream.readexactly(error.consumed)
