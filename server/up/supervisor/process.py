"""Runs a child once: starts it in its own session, waits for its end, and stops it."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from asyncio.subprocess import Process
from contextlib import suppress
from typing import Self

from gateway import launcher

from ...errors import ConfigError
from .child import Child
from .output import LineReader, Output

__all__ = ["ChildProcess"]

_OUTPUT_SECONDS = 0.5  # seconds for output to arrive after the process has ended
_KILL_SECONDS = 0.5  # seconds for the kernel to end a process after SIGKILL


class ChildProcess:
    """A running child. It has its own session, so that Ctrl-C in a terminal does not reach it."""

    def __init__(
        self, child: Child, process: Process, pipe: asyncio.BaseTransport, reader: LineReader
    ) -> None:
        self._child = child
        self._process = process
        self._pipe = pipe
        self._reader = reader

    @classmethod
    async def start(cls, child: Child, output: Output) -> Self:
        """Start the child.

        Raises:
            ConfigError: the program does not exist.
        """
        if shutil.which(child.command[0]) is None:
            raise ConfigError(f"cannot start {child.name}: the program {child.command[0]} does not exist")
        reading, writing = os.pipe()
        pipe, reader = await asyncio.get_running_loop().connect_read_pipe(
            lambda: LineReader(output), os.fdopen(reading, "rb", buffering=0)
        )
        try:
            process = await _spawn(child, writing)
        except BaseException:
            pipe.close()
            raise
        finally:
            os.close(writing)
        return cls(child, process, pipe, reader)

    async def wait(self) -> str:
        """Wait until the child ends, kill what is left in its session, and return how it ended."""
        code = await self._process.wait()
        self._kill_group()
        await asyncio.wait({self._reader.ended}, timeout=_OUTPUT_SECONDS)
        self._pipe.close()
        return f"killed by {_signal_name(-code)}" if code < 0 else f"exit code {code}"

    def send_signal(self, number: int) -> None:
        """Send a signal to the child."""
        with suppress(ProcessLookupError):
            self._process.send_signal(number)

    async def stop(self, within: float, hurry: asyncio.Event, number: int | None = None) -> None:
        """Stop the child.

        Args:
            within: seconds until it is killed.
            hurry: kills it at once when set.
            number: the signal; by default the child's `stop_signal`.
        """
        self.send_signal(self._child.stop_signal if number is None else number)
        ended = asyncio.create_task(self.wait())
        hurried = asyncio.create_task(hurry.wait())
        await asyncio.wait({ended, hurried}, timeout=within, return_when=asyncio.FIRST_COMPLETED)
        hurried.cancel()
        if not ended.done():
            self._kill_group()
            await asyncio.wait({ended}, timeout=_KILL_SECONDS)
        ended.cancel()

    def _kill_group(self) -> None:
        with suppress(ProcessLookupError, PermissionError):  # macOS returns EPERM for a zombie
            os.killpg(self._process.pid, signal.SIGKILL)


async def _spawn(child: Child, output: int) -> Process:
    return await asyncio.create_subprocess_exec(
        *launcher(child.death_signal),
        *child.command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        env=child.env,
        start_new_session=True,
    )


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
