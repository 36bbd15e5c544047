"""Starts children in order, keeps each of them running, and stops them in reverse order."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from ...errors import ConfigError
from .child import Child
from .child_monitor import ChildMonitor, GaveUp
from .output import Output
from .policy import RestartPolicy
from .rolling import Rolling

__all__ = ["Supervisor"]

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_STOP_SECONDS = 8.0  # for all children together, without their extra time; leaves 2 of 10 seconds to us
_CANCEL_SECONDS = 2.5  # for a start, or the spare child of a restart, that is interrupted
_SAME_CTRL_C = 0.3  # seconds: some launchers forward a Ctrl-C that the terminal has already sent


class Supervisor:
    """The processes behind `clarion up`.

    Each child runs in its own session, so that Ctrl-C in a terminal reaches only the supervisor. If the
    supervisor is killed, Linux ends the children (`Child.death_signal`). On macOS they keep running until an
    operator ends them; the next start ends only an orphaned PostgreSQL.

    Args:
        children: in start order; each starts when the previous one is ready. They stop in reverse order.
        log_dir: folder for each child's output, `<name>.log`.
        notify: called with each message for the operator, which may have several lines.
        on_up: called once, when every child is ready.
        spare: an additional child that runs during a restart.
        check: called before a restart; if it raises, nothing is restarted.
        policy: when to restart a child and when to give up.
    """

    def __init__(
        self,
        children: Sequence[Child],
        log_dir: Path,
        notify: Callable[[str], None],
        *,
        on_up: Callable[[], None] | None = None,
        spare: Child | None = None,
        check: Callable[[], None] | None = None,
        policy: RestartPolicy | None = None,
    ) -> None:
        self._notify_operator = notify
        self._on_up = on_up
        self._log_dir = log_dir
        self._monitors = [self._monitor(child, policy or RestartPolicy()) for child in children]
        new_spare = (lambda: self._monitor(spare, RestartPolicy(quick_deaths=1))) if spare else None
        self._rolling = Rolling(self._monitors, new_spare, check, self._notify)
        self._had_terminal = _has_terminal()
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = asyncio.Event()
        self._hurry = asyncio.Event()
        self._stop_requested_at = 0.0

    async def run(self) -> int:
        """Run until SIGINT, SIGTERM or `stop`, and leave no process behind.

        SIGHUP restarts the children one by one, unless it reports a closed terminal, which stops them.

        Returns:
            0 after a requested stop, 1 after giving up on a child.

        Raises:
            ConfigError: a child cannot be started; everything else is stopped.
        """
        _make_private(self._log_dir)
        with self._signals():
            try:
                await self._supervise()
            except GaveUp as error:
                self._notify(str(error))
                return 1
            finally:
                await self._stop_all()
        return 0

    def stop(self) -> None:
        """Stop all children; when called again, kill them at once."""
        now = asyncio.get_running_loop().time()
        if not self._stopping.is_set():
            self._stop_requested_at = now
            self._stopping.set()
        elif now - self._stop_requested_at > _SAME_CTRL_C:
            self._hurry.set()

    def _hang_up(self) -> None:
        """Handle SIGHUP."""
        if self._had_terminal and not _has_terminal():
            self.stop()
        else:
            self._rolling.request()

    def _monitor(self, child: Child, policy: RestartPolicy) -> ChildMonitor:
        return ChildMonitor(child, Output(self._log_dir / f"{child.name}.log"), self._notify, policy)

    async def _supervise(self) -> None:
        for monitor in self._monitors:
            self._tasks.append(asyncio.create_task(monitor.run()))
            if not await self._until(monitor.up):
                return
        if self._on_up:
            with suppress(OSError):  # as in _notify
                self._on_up()
        self._tasks.append(asyncio.create_task(self._rolling.run()))
        await self._until(asyncio.Event())

    async def _until(self, event: asyncio.Event) -> bool:
        """Wait for the event and return True, or False after a stop; raise the error of a failed task."""
        waits = [asyncio.create_task(e.wait()) for e in (event, self._stopping)]
        try:
            await asyncio.wait([*waits, *self._tasks], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        for task in self._tasks:
            if task.done():
                task.result()
        return not self._stopping.is_set()

    async def _stop_all(self) -> None:
        self._stopping.set()
        started = self._monitors[: len(self._tasks)]
        self._notify(f"stopping {', '.join(monitor.child.name for monitor in reversed(started))}")
        await self._cancel_tasks()
        wanted = sum(monitor.child.stop_timeout for monitor in started)
        share = min(1.0, _STOP_SECONDS / wanted) if wanted else 1.0
        for monitor in reversed(started):
            await monitor.stop(
                monitor.child.stop_timeout * share + monitor.child.extra_stop_timeout, self._hurry
            )
        self._notify("stopped")

    async def _cancel_tasks(self) -> None:
        """Cancel restarts and monitoring before the first child is stopped."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_CANCEL_SECONDS)

    @contextmanager
    def _signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in _STOP_SIGNALS:
            loop.add_signal_handler(number, self.stop)
        loop.add_signal_handler(signal.SIGHUP, self._hang_up)
        try:
            yield
        finally:
            for number in (*_STOP_SIGNALS, signal.SIGHUP):
                loop.remove_signal_handler(number)

    def _notify(self, text: str) -> None:
        with suppress(OSError):  # a closed terminal must not prevent stopping the children
            self._notify_operator(text)


def _has_terminal() -> bool:
    """Return whether this process has a terminal."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK))
    except OSError:
        return False
    return True


def _make_private(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot create the log folder {folder}: {error.strerror}") from error
