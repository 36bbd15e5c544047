"""Starts children in order, keeps each alive, and ends them all in reverse order."""

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
_STOP_WITHIN = 8.0  # seconds for all children together, without their patience; the rest of ten is for us
_UNDER_WAY = 2.5  # seconds for what the end comes in between: a start, or a restart's stand-in
_SAME_CTRL_C = 0.3  # seconds: some launchers pass a terminal's Ctrl-C on to a child that got it already


class Supervisor:
    """The processes behind `clarion up`.

    Each child runs in a session of its own, so that Ctrl-C in a terminal reaches the supervisor alone. If the
    supervisor is killed, Linux ends the children (`Child.death_signal`); macOS has no such thing: there they
    stay until they are ended by hand, and only PostgreSQL's leftovers are ended by the next start.

    Args:
        children: in start order; each starts when the one before is ready, and is stopped in reverse.
        log_dir: where each child's output goes, as `<name>.log`.
        say: takes what the supervisor has to tell; a text may have several lines.
        on_up: called once, when every child is ready.
        stand_in: runs during a restart, beside those that restart.
        check: called before a restart; if it raises, nothing is restarted.
        policy: when to restart and when to give up.
    """

    def __init__(
        self,
        children: Sequence[Child],
        log_dir: Path,
        say: Callable[[str], None],
        *,
        on_up: Callable[[], None] | None = None,
        stand_in: Child | None = None,
        check: Callable[[], None] | None = None,
        policy: RestartPolicy | None = None,
    ) -> None:
        self._say_to = say
        self._on_up = on_up
        self._log_dir = log_dir
        self._keepers = [self._keeper(child, policy or RestartPolicy()) for child in children]
        spare = (lambda: self._keeper(stand_in, RestartPolicy(quick_deaths=1))) if stand_in else None
        self._rolling = Rolling(self._keepers, spare, check, self._say)
        self._had_terminal = _has_terminal()
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = asyncio.Event()
        self._hurry = asyncio.Event()
        self._asked_at = 0.0

    async def run(self) -> int:
        """Run until asked to stop (SIGINT, SIGTERM, or `stop`), and leave no process behind.

        SIGHUP restarts the children one by one, unless it tells of a closed terminal: that is an end too.

        Returns:
            0 after a stop that was asked for, 1 after giving up on a child.

        Raises:
            ConfigError: a child cannot be started at all; everything else is stopped.
        """
        _make_private(self._log_dir)
        with self._signals():
            try:
                await self._supervise()
            except GaveUp as error:
                self._say(str(error))
                return 1
            finally:
                await self._stop_all()
        return 0

    def stop(self) -> None:
        """Ask for the end; asked again, kill at once."""
        now = asyncio.get_running_loop().time()
        if not self._stopping.is_set():
            self._asked_at = now
            self._stopping.set()
        elif now - self._asked_at > _SAME_CTRL_C:
            self._hurry.set()

    def _hang_up(self) -> None:
        """Take SIGHUP."""
        if self._had_terminal and not _has_terminal():
            self.stop()
        else:
            self._rolling.ask()

    def _keeper(self, child: Child, policy: RestartPolicy) -> ChildMonitor:
        return ChildMonitor(child, Output(self._log_dir / f"{child.name}.log"), self._say, policy)

    async def _supervise(self) -> None:
        for keeper in self._keepers:
            self._tasks.append(asyncio.create_task(keeper.keep()))
            if not await self._until(keeper.up):
                return
        if self._on_up:
            with suppress(OSError):  # as in _say
                self._on_up()
        self._tasks.append(asyncio.create_task(self._rolling.run()))
        await self._until(asyncio.Event())

    async def _until(self, event: asyncio.Event) -> bool:
        """Wait for the event and return True, or False if asked to stop; raise what ends a keeper."""
        waits = [asyncio.create_task(e.wait()) for e in (event, self._stopping)]
        try:
            await asyncio.wait([*waits, *self._tasks], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        for keeping in self._tasks:
            if keeping.done():
                keeping.result()
        return not self._stopping.is_set()

    async def _stop_all(self) -> None:
        self._stopping.set()
        started = self._keepers[: len(self._tasks)]
        self._say(f"stopping {', '.join(keeper.child.name for keeper in reversed(started))}")
        await self._end_keeping()
        wanted = sum(keeper.child.stop_timeout for keeper in started)
        share = min(1.0, _STOP_WITHIN / wanted) if wanted else 1.0
        for keeper in reversed(started):
            await keeper.stop(keeper.child.stop_timeout * share + keeper.child.patience, self._hurry)
        self._say("stopped")

    async def _end_keeping(self) -> None:
        """End restarts and reports, before the first child is stopped."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_UNDER_WAY)

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

    def _say(self, text: str) -> None:
        with suppress(OSError):  # the terminal is gone; that must not keep us from ending the children
            self._say_to(text)


def _has_terminal() -> bool:
    """Return whether there is a terminal that could be closed."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK))
    except OSError:
        return False
    return True


def _make_private(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot make the log folder {folder}: {error.strerror}") from error
