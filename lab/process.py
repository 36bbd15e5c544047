"""Runs child processes that write to a log file and end with the block, or the process, that started them."""

from __future__ import annotations

import asyncio
import functools
import itertools
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Self

from gateway import launcher

from .errors import LabError

__all__ = ["Process", "free_port", "lab_process", "module_command", "module_env", "output_of", "until"]

_READY_SECONDS = 120.0
"""Longer than any start on a busy machine: it only ends runs that fail."""
_STOP_SECONDS = 10.0
_LINES_SHOWN = 5
_BLOCK = 100
_PORTS = range(20_000, 32_700, _BLOCK)
"""Below the ports that Linux and macOS give to outgoing connections and to programs that accept any port."""


class Process:
    """A process that can be started, killed and started again.

    It has its own session, so that Ctrl-C reaches only this process, which then stops its children. If this
    process is killed, Linux sends the child `death_signal`.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        folder: Path,
        *,
        env: Mapping[str, str] | None = None,
        prepare: Callable[[], Awaitable[None]] | None = None,
        ready: Callable[[], Awaitable[None]] | str = "",
        stop_signal: signal.Signals = signal.SIGTERM,
        death_signal: signal.Signals = signal.SIGKILL,
    ) -> None:
        """Describe the process; `start` runs it.

        Args:
            name: used in error messages and for the log file, `<name>.log`.
            command: the program and its arguments.
            folder: where the log file is.
            env: the whole environment; this process's if None.
            prepare: awaited before each start.
            ready: returns once the process works, or a text that it logs then.
            stop_signal: ends the process in an orderly way.
            death_signal: sent to the process when this one dies.
        """
        self.name = name
        self.log = folder / f"{name}.log"
        self._command = (*launcher(death_signal), *command)
        self._env = env
        self._prepare = prepare
        self._ready = ready
        self._stop_signal = stop_signal
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        """The ID of the running process."""
        return self._running().pid

    @property
    def has_ended(self) -> bool:
        """Whether the process has ended on its own."""
        return self._running().returncode is not None

    async def start(self) -> None:
        """Start the process and wait until it is ready.

        Raises:
            LabError: the process ended, or was not ready within two minutes.
        """
        if self._prepare:
            await self._prepare()
        with self.log.open("ab") as output:
            logged = output.tell()
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                env=self._env,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
            )
        ready = asyncio.ensure_future(self._until_ready(logged))
        ended = asyncio.ensure_future(self._process.wait())
        try:
            await asyncio.wait({ready, ended}, timeout=_READY_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if not ready.done():
                raise LabError(f"{self.name} did not start: {self._last_lines()}")
            await ready
        finally:
            ready.cancel()
            ended.cancel()

    def send_signal(self, number: signal.Signals) -> None:
        """Send the process a signal."""
        with suppress(ProcessLookupError):
            self._running().send_signal(number)

    async def end(self, number: signal.Signals) -> None:
        """End the process with a signal.

        Raises:
            LabError: it ended in another way or earlier.
        """
        self.send_signal(number)
        code = await self._running().wait()
        self._kill_session()
        if code not in {-number, 0}:
            raise LabError(self._how_it_ended())

    async def stop(self) -> None:
        """Stop the process if it runs; kill it if it has not ended after 10 seconds."""
        if self._process is None or self._process.returncode is not None:
            return
        self.send_signal(self._stop_signal)
        try:
            await asyncio.wait_for(self._process.wait(), _STOP_SECONDS)
        except TimeoutError:
            self._kill_session()
            await self._process.wait()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        """Run the process for the block.

        Raises:
            LabError: it did not start, or ended before the block.
        """
        try:
            await self.start()
            yield self
            if self.has_ended:
                raise LabError(self._how_it_ended())
        except LabError as error:
            if self._process and self._process.returncode:  # the cause
                raise LabError(self._how_it_ended()) from error
            raise
        finally:
            await self.stop()

    async def _until_ready(self, logged: int) -> None:
        if callable(self._ready):
            await self._ready()
        elif self._ready:
            while self._ready.encode() not in self._log_from(logged):  # noqa: ASYNC110 - a file raises no event
                await asyncio.sleep(0.02)

    def _running(self) -> asyncio.subprocess.Process:
        assert self._process  # noqa: S101 - started before
        return self._process

    def _kill_session(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._running().pid, signal.SIGKILL)

    def _how_it_ended(self) -> str:
        return f"{self.name} ended with exit code {self._running().returncode}: {self._last_lines()}"

    def _last_lines(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines()[-_LINES_SHOWN:]
        return " | ".join(lines) or "it logged nothing"

    def _log_from(self, offset: int) -> bytes:
        with self.log.open("rb") as file:
            file.seek(offset)
            return file.read()


def lab_process(
    name: str, folder: Path, module: str, *args: object, ready: Callable[[], Awaitable[None]] | str = ""
) -> Process:
    """Return a process that runs `python -m lab.<module>`; the other arguments are those of `Process`."""
    return Process(name, module_command(module, *args), folder, env=module_env(), ready=ready)


def module_command(module: str, *args: object) -> list[str]:
    """Return the command `python -m lab.<module>`, which needs the environment of `module_env`."""
    return [sys.executable, "-P", "-m", f"lab.{module}", *map(str, args)]


def module_env() -> dict[str, str]:
    """Return an environment in which Python finds `lab`, which is not installed with the product."""
    root = str(Path(__file__).parents[1])
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH")))),
    }


async def output_of(
    name: str, command: Sequence[str], seconds: float, env: Mapping[str, str] | None = None
) -> str:
    """Run a program and return what it printed.

    Args:
        name: what messages call it.
        command: the program and its arguments.
        seconds: how long it may take; then it is killed.
        env: the whole environment; this process's if None.

    Raises:
        LabError: it failed.
        TimeoutError: it took too long.
    """
    process = await asyncio.create_subprocess_exec(
        *command,
        env=env,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(seconds):
            output, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise LabError(f"{name} failed: {errors.decode(errors='replace').strip()[-500:]}")
    return output.decode()


async def until(condition: Callable[[], bool], seconds: float, *, every: float = 0.002) -> bool:
    """Poll a condition that raises no event; return whether it was met in time.

    Args:
        condition: called until it returns true.
        seconds: the longest wait.
        every: seconds between two calls.
    """
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while not condition():  # noqa: ASYNC110 - another process changes it
                await asyncio.sleep(every)
            return True
    return False


def free_port() -> int:
    """Return a TCP port of the loopback that nothing uses, and that only this process may return.

    The kernel must not choose it: it could give the port to a connection of any program before the caller's
    program listens on it.
    """
    return next(port for port in _own_ports() if _is_free(port))


@functools.cache
def _own_ports() -> Iterator[int]:
    """Reserve a block of ports until this process ends, and return them over and over."""
    start = os.getpid() % len(_PORTS)
    for first in (*_PORTS[start:], *_PORTS[:start]):
        # UDP has its own ports, so the lock leaves the TCP port with its number free.
        lock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            lock.bind(("127.0.0.1", first))
        except OSError:
            lock.close()
        else:
            _locks.append(lock)
            return itertools.cycle(range(first, first + _BLOCK))
    raise LabError(f"other processes have reserved all ports from {_PORTS.start} to {_PORTS.stop}")


_locks: list[socket.socket] = []


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port in TIME_WAIT is free
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
