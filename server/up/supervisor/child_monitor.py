"""Keeps one child running: starts it, waits until it is ready, reports its death, restarts it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ...errors import DATABASE_AWAY, ClarionError, ConfigError
from .child import Child
from .obstacle import find_obstacle
from .output import Output
from .policy import RestartPolicy
from .process import ChildProcess

__all__ = ["ChildMonitor", "GaveUp"]


class GaveUp(ClarionError):
    """A child keeps dying, or was not ready at its first start."""


class ChildMonitor:
    """Keeps one child running.

    Attributes:
        child: the child.
        up: set when the child is ready for the first time.
    """

    def __init__(
        self, child: Child, output: Output, notify: Callable[[str], None], policy: RestartPolicy
    ) -> None:
        self.child = child
        self.up = asyncio.Event()
        self._output = output
        self._notify = notify
        self._policy = policy
        self._process: ChildProcess | None = None
        self._never_ready = False
        self._ready = asyncio.Event()
        self._restarting = False
        self._obstacle = ""

    async def run(self) -> None:
        """Start the child and restart it when it dies, until cancelled.

        Raises:
            GaveUp: the child died too often, or was not ready at its first start.
            ConfigError: the child cannot be started.
        """
        deaths = 0
        while True:
            started = asyncio.get_running_loop().time()
            end = await self._run_once()
            if self._restarting:
                self._restarting = False
                continue
            lived = asyncio.get_running_loop().time() - started
            if self._must_wait(end, lived):
                await asyncio.sleep(self._policy.retry)
                continue
            deaths = self._policy.count(deaths, lived)
            delay = None if self._never_ready else self._policy.delay(deaths)
            if delay is None:
                raise GaveUp(self._report(end, self._why_given_up(deaths)))
            self._notify(self._report(end, f"restarting in {delay:.3g} s"))
            await asyncio.sleep(delay)

    async def stop(self, within: float, hurry: asyncio.Event) -> None:
        """Stop the child's process, if it has one; `run` must have been cancelled.

        Args:
            within: seconds until the process is killed.
            hurry: kills it at once when set.
        """
        if self._process:
            await self._process.stop(within, hurry)
        self._output.close()

    async def restart(self) -> None:
        """Restart the child by its `restart_signal`, and wait until it is in use again."""
        if self.child.restarts_itself:
            if self._process and self.child.restart_signal is not None:
                self._process.send_signal(self.child.restart_signal)
            return
        self._ready.clear()
        self._restarting = self._process is not None  # otherwise it has died and is restarted anyway
        await self.stop_for_restart()
        await self.wait_in_use()

    async def stop_for_restart(self) -> None:
        """Stop the child's process by its `restart_signal`."""
        if self._process:
            await self._process.stop(self.child.restart_timeout, asyncio.Event(), self.child.restart_signal)

    async def wait_in_use(self) -> None:
        """Wait until the child is ready and other processes use it."""
        await self._ready.wait()
        if self.child.in_use:
            await self.child.in_use()

    def _must_wait(self, end: str, lived: float) -> bool:
        """Return whether the child must wait for an obstacle outside it, and report a new obstacle once."""
        if lived >= self._policy.steady_after:
            self._obstacle = ""
        report = self._report(end, "")
        obstacle = find_obstacle(report, self._output.path.parent)
        # At the first start, an unreachable database more likely means that its address is wrong.
        if obstacle is None or (obstacle.startswith(DATABASE_AWAY) and not self.up.is_set()):
            self._obstacle = ""
            return False
        if not self._obstacle:
            self._notify(self._report(end, obstacle))
        self._obstacle = obstacle
        return True

    async def _run_once(self) -> str:
        """Run the child once and return how it ended."""
        self._ready.clear()
        self._output.clear_last_lines()
        if not self._obstacle:
            self._notify(f"starting {self.child.name}")
        try:
            if self.child.prepare:
                await self.child.prepare()
            self._process = await ChildProcess.start(self.child, self._output)
        except Exception as error:  # an error of a hook must not end the other children
            if isinstance(error, ConfigError) and not self.up.is_set():
                raise
            return f"could not be started: {error}"
        end = await self._watch(self._process)
        self._process = None
        return end

    async def _watch(self, process: ChildProcess) -> str:
        ended = asyncio.create_task(process.wait())
        ready = asyncio.create_task(self._wait_ready())
        try:
            await asyncio.wait({ended, ready}, return_when=asyncio.FIRST_COMPLETED)
            if not ended.done():
                if problem := ready.result():
                    self._never_ready = not self.up.is_set()
                    await process.stop(self.child.stop_timeout, asyncio.Event())
                    return problem
                if self.child.ready:
                    self._obstacle = ""
                if not self._obstacle:  # without a hook, it is ready even if it ends at once
                    self._notify(f"{self.child.name} is ready")
                self.up.set()
                self._ready.set()
            return f"ended: {await ended}"
        finally:
            for task in (ended, ready):
                task.cancel()

    async def _wait_ready(self) -> str | None:
        """Wait until the child is ready; return what is wrong, or None."""
        try:
            async with asyncio.timeout(self.child.ready_timeout):
                if self.child.ready:
                    await self.child.ready()
        except TimeoutError:
            return f"was not ready within {self.child.ready_timeout:.3g} s"
        except Exception as error:  # of a hook
            return f"was not ready: {error}"
        return None

    def _why_given_up(self, deaths: int) -> str:
        return "giving up" if self._never_ready else f"it died {deaths} times in quick succession, giving up"

    def _report(self, end: str, next_step: str) -> str:
        lines = self._output.last_lines()
        intro = f"; its last lines (full log: {self._output.path}):" if lines else "; it wrote nothing"
        return "\n".join([f"{self.child.name} {end}; {next_step}{intro}", *(f"  | {line}" for line in lines)])
