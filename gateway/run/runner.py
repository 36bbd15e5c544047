"""Runs the gateway: starts Envoy, hands over to a new one, drains it, ends it."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from ..errors import GatewayError
from ..options import GatewayOptions
from . import admin
from .command import ALONE, check, command, write_config
from .hot_restart import HotRestart, parent_seconds
from .probe import POLL_SECONDS, address, refuse_taken_port, until_ready, wait_ready
from .process import END_SECONDS, Envoy
from .tls import KeyPair

__all__ = ["Gateway", "run_gateway", "running"]

Say = Callable[[str], None]


class Gateway:
    """A running gateway: one Envoy, or two while one hands over. Made by `running`; ended by `stop`."""

    def __init__(self, options: GatewayOptions, workdir: Path, say: Say) -> None:
        """Prepare; `start` starts."""
        self.options = options
        self._workdir = workdir
        self._say = say
        # Without the admin interface nobody could tell when a new Envoy is ready.
        self._family = HotRestart(workdir) if options.admin_socket and HotRestart.is_possible() else None
        self._envoy: Envoy | None = None
        self._old: Envoy | None = None
        self._seeing_off: asyncio.Task[None] | None = None
        self._watch: asyncio.Task[None] | None = None
        self._changing = asyncio.Lock()
        self._stopped = False

    @property
    def pid(self) -> int:
        """The process id of the Envoy that takes calls."""
        return self._current.pid

    @property
    def returncode(self) -> int | None:
        """Envoy's exit code; None while it runs."""
        return self._current.returncode

    @property
    def last_words(self) -> str:
        """Envoy's last lines on standard error."""
        return self._current.last_words

    @property
    def _current(self) -> Envoy:
        assert self._envoy is not None  # noqa: S101  # `running` has started it
        return self._envoy

    async def start(self) -> None:
        """Start the first Envoy and return when it is ready.

        Raises:
            GatewayError: it does not start, or something is wrong with the TLS pair.
        """
        self._envoy = await self._launch(self.options, 0)
        await _until_ready(self._envoy, self.options, 0)

    async def renew(self, options: GatewayOptions) -> None:
        """Hand over to a new Envoy with these options, without refusing or cutting a call.

        Raises:
            GatewayError: that did not work; the old Envoy goes on.
        """
        if self._family is None:
            raise GatewayError(
                "there is no shared memory for Envoy's hot restart; restart the gateway instead"
            )
        if self._seeing_off:
            await asyncio.wait({self._seeing_off})  # a third Envoy would cut the calls of the first
        async with self._changing:
            if not self._stopped:
                await self._hand_over(options, self._family)

    async def _hand_over(self, options: GatewayOptions, family: HotRestart) -> None:
        if address(options) != address(self.options):
            refuse_taken_port(options)
        await check(options)  # before the old one hears of it
        envoy = await self._launch(options, family.epoch + 1)
        try:
            await _until_ready(envoy, options, family.epoch + 1)
        except GatewayError:
            await envoy.end()
            family.clear_start_flag()
            self._prepare(self.options)
            await self._kill_if_not_listening()
            raise
        old, self._envoy, self.options = self._current, envoy, options
        family.epoch += 1
        self._old, self._seeing_off = old, asyncio.create_task(self._await_old_exit(old))
        self._say(f"the gateway was handed over to a new Envoy (process {envoy.pid})")

    async def _launch(self, options: GatewayOptions, epoch: int) -> Envoy:
        config = self._prepare(options)
        family = self._family.arguments(options, epoch) if self._family else ALONE
        return await Envoy.start(command(options, config, family), self._workdir)

    def _prepare(self, options: GatewayOptions) -> Path:
        """Write what Envoy reads. From here on that TLS pair is watched which these options name."""
        pair = KeyPair.of(options)
        seen = pair.stamp() if pair else ()
        config = write_config(options, self._workdir)
        if self._watch:
            self._watch.cancel()
        self._watch = asyncio.create_task(pair.watch(self._workdir, seen, self._say)) if pair else None
        return config

    async def _kill_if_not_listening(self) -> None:
        """End the old Envoy if it had already given up its port: then only a new start helps."""
        try:
            await wait_ready(replace(self.options, admin_socket=None))
        except GatewayError:
            await self._current.end()

    async def _await_old_exit(self, old: Envoy) -> None:
        """Wait for the end of the old Envoy.

        The new one ends it, and must be the one to do so: without an answer from the old one it would block.
        """
        try:
            await asyncio.wait_for(old.wait(), parent_seconds(self.options) + END_SECONDS)
        except TimeoutError:
            await old.end()

    async def wait(self) -> int:
        """Wait for the end of the Envoy that takes calls, and return its exit code."""
        while True:
            envoy = self._current
            code = await envoy.wait()
            if envoy is self._envoy:
                return code

    async def stop(self) -> int:
        """Let calls in flight end, at most for `drain_timeout`; then end Envoy. Return its exit code."""
        self._stopped = True
        async with self._changing:  # a new Envoy is ready within moments, or given up
            if self._watch:
                self._watch.cancel()
            if self._envoy is None:
                return 0
            if self.returncode is None and self.options.admin_socket is not None:
                with suppress(admin.AdminError, TimeoutError):
                    await asyncio.wait_for(self._drain(self.options.admin_socket), self.options.drain_timeout)
            return await self._end()

    async def _drain(self, admin_socket: Path) -> None:
        """Return when no call is in flight. The old Envoy's calls count too: it hands its figures on."""
        await admin.start_draining(admin_socket)
        await asyncio.sleep(self.options.drain_grace)
        while self.returncode is None and await admin.active_requests(admin_socket):  # noqa: ASYNC110  # Envoy can only be asked
            await asyncio.sleep(POLL_SECONDS)

    async def _end(self) -> int:
        code = await self._current.end()
        if self._old:  # after the new one: see `_await_old_exit`
            await self._old.end()
        if self._family:
            self._family.close()
        return code


@asynccontextmanager
async def running(
    options: GatewayOptions, *, workdir: Path, say: Say | None = None
) -> AsyncIterator[Gateway]:
    """Run a gateway while the block runs, ready from its first line on.

    The configuration is written into `workdir`. What there is to tell goes to `say`, by default to standard
    error, where Envoy's own messages go.

    Raises:
        GatewayError: the port is taken, something is wrong with the TLS pair, or Envoy does not start.
    """
    refuse_taken_port(options)
    gateway = Gateway(options, workdir, say or _say)
    try:
        await gateway.start()
        yield gateway
    finally:
        await gateway.stop()


async def run_gateway(
    options: GatewayOptions,
    *,
    workdir: Path,
    reload: Callable[[], GatewayOptions] | None = None,
    say: Say | None = None,
) -> int:
    """Run the gateway until SIGTERM or SIGINT, drain it, and return its exit code: 0 if we were asked.

    On SIGHUP a new Envoy takes over, with what `reload` returns; without it, with the same options.

    Raises:
        GatewayError: as in `running`.
    """
    asked, renewal = asyncio.Event(), asyncio.Event()
    with _signals({signal.SIGTERM: asked, signal.SIGINT: asked, signal.SIGHUP: renewal}):
        async with running(options, workdir=workdir, say=say) as gateway:
            renewing = asyncio.create_task(
                _renew_at(renewal, gateway, reload or (lambda: options), say or _say)
            )
            ended = asyncio.create_task(gateway.wait())
            stop = asyncio.create_task(asked.wait())
            await asyncio.wait({ended, stop, renewing}, return_when=asyncio.FIRST_COMPLETED)
            code = await gateway.stop() if asked.is_set() else await ended
            for task in (renewing, stop, ended):
                task.cancel()
            return code


async def _until_ready(envoy: Envoy, options: GatewayOptions, epoch: int) -> None:
    """Wait until Envoy is ready, and tell it how few calls at once it may come down to.

    Raises:
        GatewayError: it did not get ready.
    """
    await until_ready(envoy, options, epoch)
    if options.admin_socket is not None:
        try:
            await admin.shed_down_to(options.admin_socket, options.min_concurrent)
        except admin.AdminError as error:
            raise GatewayError(f"Envoy's admin interface does not answer: {error}") from error


async def _renew_at(
    renewal: asyncio.Event, gateway: Gateway, reload: Callable[[], GatewayOptions], say: Say
) -> None:
    """Renew the gateway whenever it is asked for; asked several times meanwhile, once more."""
    while True:
        await renewal.wait()
        renewal.clear()
        try:
            await gateway.renew(replace(reload(), admin_socket=gateway.options.admin_socket))
        except Exception as error:  # a caller's settings among them: whatever it is, the old one goes on
            say(f"the gateway goes on as it was: {error}")


@contextmanager
def _signals(events: dict[signal.Signals, asyncio.Event]) -> Iterator[None]:
    """Set these events at their signals while the block runs."""
    loop = asyncio.get_running_loop()
    for number, event in events.items():
        loop.add_signal_handler(number, event.set)
    try:
        yield
    finally:
        for number in events:
            loop.remove_signal_handler(number)


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
