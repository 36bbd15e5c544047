"""A running gateway: starts Envoy, hands over to a new one, drains and ends it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from msgspec.structs import replace

from ..errors import GatewayError
from ..settings import GatewaySettings
from . import admin
from .command import NO_HOT_RESTART, check, command, write_config
from .hot_restart import HotRestart, parent_seconds
from .probe import POLL_SECONDS, check_port, until_ready, wait_ready
from .process import END_SECONDS, Envoy
from .tls import tls_of

__all__ = ["Gateway", "Notify", "log", "running"]

Notify = Callable[[str], None]
STILL_LISTENING_SECONDS = 10.0
"""How long an Envoy whose successor failed may take to answer, before another one is started instead."""


class Gateway:
    """A running gateway: one Envoy, or two during a hand-over. Created by `running`, ended by `stop`.

    Args:
        settings: the gateway's settings.
        workdir: folder for Envoy's files.
        notify: called with each message for the operator.
    """

    def __init__(self, settings: GatewaySettings, workdir: Path, notify: Notify) -> None:
        self.settings = settings
        self._workdir = workdir
        self._notify = notify
        # Without the admin interface we could not find out when a new Envoy is ready.
        can_hand_over = settings.admin_path and HotRestart.is_possible()
        self._hot_restart = HotRestart(workdir) if can_hand_over else None
        self._envoy: Envoy | None = None
        self._old: Envoy | None = None
        self._old_exit: asyncio.Task[None] | None = None
        self._watches: list[asyncio.Task[None]] = []
        self._changing = asyncio.Lock()
        self._stopped = False

    @property
    def pid(self) -> int:
        """Process ID of the Envoy that accepts calls."""
        return self._current.pid

    @property
    def returncode(self) -> int | None:
        """Envoy's exit code; None while it runs."""
        return self._current.returncode

    @property
    def last_lines(self) -> str:
        """Envoy's last lines on standard error."""
        return self._current.last_lines

    @property
    def is_stopped(self) -> bool:
        """Whether `stop` was called."""
        return self._stopped

    @property
    def _current(self) -> Envoy:
        assert self._envoy is not None  # noqa: S101  # `running` has started it
        return self._envoy

    async def start(self) -> None:
        """Start the first Envoy and wait until it is ready.

        Raises:
            GatewayError: Envoy does not start, or a TLS file is invalid.
        """
        self._envoy = await self._launch(self.settings, 0)
        await _until_ready(self._envoy, self.settings, 0)

    async def renew(self, settings: GatewaySettings) -> None:
        """Hand over to a new Envoy with other settings, without rejecting or cutting a call.

        Raises:
            GatewayError: the hand-over failed; the old Envoy continues.
        """
        if self._hot_restart is None:
            raise GatewayError(
                "Envoy's hot restart needs Linux, an admin socket and a writable /dev/shm; "
                "restart the gateway instead"
            )
        if self._old_exit:
            await asyncio.wait({self._old_exit})  # a third Envoy would cut the first one's calls
        async with self._changing:
            if not self._stopped:
                await self._hand_over(settings, self._hot_restart)

    async def _hand_over(self, settings: GatewaySettings, hot_restart: HotRestart) -> None:
        if (settings.host, settings.port) != (self.settings.host, self.settings.port):
            check_port(settings)
        await check(settings)  # before the old Envoy is affected
        if hot_restart.interrupted:
            await hot_restart.recover(self.settings)
        epoch = hot_restart.epoch + 1
        envoy = await self._launch(settings, epoch)
        try:
            await _until_ready(envoy, settings, epoch)
        except GatewayError:
            hot_restart.interrupted = True
            await envoy.end()
            self._write_files(self.settings)
            await self._kill_if_not_listening()
            raise
        old, self._envoy, self.settings = self._current, envoy, settings
        hot_restart.epoch = epoch
        self._old, self._old_exit = old, asyncio.create_task(self._await_exit(old))
        self._notify(f"the gateway was handed over to a new Envoy (process {envoy.pid})")

    async def _launch(self, settings: GatewaySettings, epoch: int) -> Envoy:
        config = self._write_files(settings)
        arguments = self._hot_restart.arguments(settings, epoch) if self._hot_restart else NO_HOT_RESTART
        return await Envoy.start(command(settings, config, arguments), self._workdir)

    def _write_files(self, settings: GatewaySettings) -> Path:
        """Write Envoy's files, and from now on watch the TLS files that these settings name."""
        stamped = [(tls, tls.files.stamp()) for tls in tls_of(settings)]
        config = write_config(settings, self._workdir)
        self._end_watches()
        self._watches = [
            asyncio.create_task(tls.watch(self._workdir, stamp, self._notify)) for tls, stamp in stamped
        ]
        return config

    def _end_watches(self) -> None:
        for watch in self._watches:
            watch.cancel()

    async def _kill_if_not_listening(self) -> None:
        """End the old Envoy if it has already closed its port. It is then started again."""
        try:
            await wait_ready(replace(self.settings, admin_socket=""), STILL_LISTENING_SECONDS)
        except GatewayError:
            await self._current.end()

    async def _await_exit(self, old: Envoy) -> None:
        """Wait until the old Envoy has ended.

        The new one must end it: it would block if the old one disappeared without an answer.
        """
        try:
            await asyncio.wait_for(old.wait(), parent_seconds(self.settings) + END_SECONDS)
        except TimeoutError:
            await old.end()

    async def wait(self) -> int:
        """Wait until the Envoy that accepts calls ends, and return its exit code."""
        while True:
            envoy = self._current
            code = await envoy.wait()
            if envoy is self._envoy:
                return code

    async def restart(self) -> None:
        """Start a new Envoy after the last one ended unexpectedly.

        Raises:
            GatewayError: It does not start.
        """
        async with self._changing:
            if self._stopped:
                return
            if self._old:
                await self._old.end()
            if self._hot_restart:
                self._hot_restart.close()
                self._hot_restart = HotRestart(self._workdir)
            try:
                await self.start()
            except GatewayError:
                await self._current.end()
                raise

    async def stop(self) -> int:
        """Wait up to `drain_timeout` for calls in flight, then end Envoy. Return its exit code."""
        self._stopped = True
        async with self._changing:  # a new Envoy is ready or given up within seconds
            self._end_watches()
            if self._envoy is None:
                return 0
            if self.returncode is None and self.settings.admin_path:
                with suppress(admin.AdminError, TimeoutError):
                    drained = self._drain(self.settings.admin_path)
                    await asyncio.wait_for(drained, self.settings.drain_timeout)
            return await self._end()

    async def _drain(self, admin_socket: Path) -> None:
        """Wait until no call is in flight. The figures of the new Envoy include those of an old one."""
        await admin.start_draining(admin_socket)
        await asyncio.sleep(self.settings.drain_grace)
        while self.returncode is None and await admin.active_requests(admin_socket):  # noqa: ASYNC110  # no event
            await asyncio.sleep(POLL_SECONDS)

    async def _end(self) -> int:
        code = await self._current.end()
        if self._old:  # after the new one: see `_await_exit`
            await self._old.end()
        if self._hot_restart:
            self._hot_restart.close()
        return code


@asynccontextmanager
async def running(
    settings: GatewaySettings, *, workdir: Path, notify: Notify | None = None
) -> AsyncIterator[Gateway]:
    """Run a gateway for the duration of the block, which starts when the gateway is ready.

    Args:
        settings: the gateway's settings.
        workdir: folder for Envoy's files.
        notify: called with each message for the operator; by default they go to standard error, like Envoy's.

    Raises:
        GatewayError: the port is taken, a TLS file is invalid, or Envoy does not start.
    """
    check_port(settings)
    gateway = Gateway(settings, workdir, notify or log)
    try:
        await gateway.start()
        yield gateway
    finally:
        await gateway.stop()


async def _until_ready(envoy: Envoy, settings: GatewaySettings, epoch: int) -> None:
    """Wait until Envoy is ready, then set the minimum of its adaptive concurrency limit.

    Raises:
        GatewayError: it did not become ready.
    """
    await until_ready(envoy, settings, epoch)
    if settings.admin_path:
        try:
            await admin.set_min_concurrency(settings.admin_path, settings.min_concurrent)
        except admin.AdminError as error:
            raise GatewayError(f"Envoy's admin interface does not answer: {error}") from error


def log(text: str) -> None:
    """Write a message for the operator to standard error."""
    sys.stderr.write(f"{text}\n")
