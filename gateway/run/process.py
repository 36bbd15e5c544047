"""One Envoy process: started, listened to, ended."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import signal
import sys
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Self

__all__ = ["END_SECONDS", "LAST_LINES", "Envoy"]

LAST_LINES = 8
END_SECONDS = 5.0
PR_SET_PDEATHSIG = 1  # prctl(2)
LIBC = ctypes.CDLL(None)


class Envoy:
    """One running Envoy."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        """Take charge of the process and pass its messages on."""
        self._process = process
        self._last: deque[str] = deque(maxlen=LAST_LINES)
        self._relay = asyncio.create_task(self._pass_messages_on())

    @classmethod
    async def start(cls, command: Sequence[str], folder: Path) -> Self:
        """Start Envoy in a folder, where names in its configuration are looked up.

        It gets a session of its own, so that Ctrl-C at a terminal reaches only us, who drain it.
        """
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=folder,
            stdin=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
            preexec_fn=_die_with_us,  # safe: no thread of ours is at work
        )
        return cls(process)

    @property
    def pid(self) -> int:
        """Envoy's process id."""
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """Envoy's exit code; None while it runs."""
        return self._process.returncode

    @property
    def last_words(self) -> str:
        """Envoy's last lines on standard error."""
        return "\n".join(self._last) or "(it said nothing)"

    async def wait(self) -> int:
        """Wait for Envoy's end and return its exit code."""
        code = await self._process.wait()
        await asyncio.shield(self._relay)
        return code

    async def end(self) -> int:
        """Ask Envoy to end; after some seconds, end it."""
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        try:
            return await asyncio.wait_for(self.wait(), END_SECONDS)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            return await self._process.wait()

    async def _pass_messages_on(self) -> None:
        assert self._process.stderr is not None  # noqa: S101  # it was opened as a pipe
        while raw := await self._next_line(self._process.stderr):
            line = raw.decode(errors="replace").rstrip()
            self._last.append(line)
            sys.stderr.write(line + "\n")

    @staticmethod
    async def _next_line(stream: asyncio.StreamReader) -> bytes:
        """Return a line, or a part of one that is longer than the stream's buffer; nothing at the end."""
        try:
            return await stream.readuntil()
        except asyncio.IncompleteReadError as error:
            return error.partial
        except asyncio.LimitOverrunError as error:
            return await stream.readexactly(error.consumed)


def _die_with_us() -> None:
    """Have Linux end Envoy if we are killed and cannot. Other systems leave it to the operator."""
    if sys.platform == "linux":
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
