"""Keeps one child alive: starts it, waits until it answers, reports its death, starts it again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ...errors import ClarionError, ConfigError
from .child import Child
from .output import Output
from .policy import RestartPolicy
from .process import ChildProcess

__all__ = ["ChildMonitor", "GaveUp"]


class GaveUp(ClarionError):
    """A child cannot be kept alive."""


class ChildMonitor:
    """Keeps one child alive. `up` is set once it has been ready for the first time."""

    def __init__(
        self, child: Child, output: Output, say: Callable[[str], None], policy: RestartPolicy
    ) -> None:
        self.child = child
        self.up = asyncio.Event()
        self._output = output
        self._say = say
        self._policy = policy
        self._process: ChildProcess | None = None
        self._never_ready = False
        self._answers = asyncio.Event()
        self._restarting = False

    async def keep(self) -> None:
        """Run until cancelled.

        Raises:
            GaveUp: the child died too often, or was not ready at its first start.
            ConfigError: the child cannot be started at all.
        """
        deaths = 0
        while True:
            born = asyncio.get_running_loop().time()
            fate = await self._live()
            if self._restarting:
                self._restarting = False
                continue
            deaths = self._policy.count(deaths, asyncio.get_running_loop().time() - born)
            delay = None if self._never_ready else self._policy.delay(deaths)
            if delay is None:
                raise GaveUp(self._report(fate, self._last_word(deaths)))
            self._say(self._report(fate, f"restarting in {delay:.3g} s"))
            await asyncio.sleep(delay)

    async def stop(self, within: float, hurry: asyncio.Event) -> None:
        """End the child's process, if there is one; `keep` must have been cancelled."""
        if self._process:
            await self._process.stop(within, hurry)
        self._output.close()

    async def restart(self) -> None:
        """Restart the child as its `restart_signal` asks, and return when it is used again."""
        if self.child.renews_itself:
            if self._process and self.child.restart_signal is not None:
                self._process.tell(self.child.restart_signal)
            return
        self._answers.clear()
        self._restarting = self._process is not None  # if not, it has died and is started again anyway
        await self.leave()
        await self.used()

    async def leave(self) -> None:
        """End the child's process as for a restart."""
        if self._process:
            await self._process.stop(self.child.restart_timeout, asyncio.Event(), self.child.restart_signal)

    async def used(self) -> None:
        """Return when the child answers and others make use of it."""
        await self._answers.wait()
        if self.child.used:
            await self.child.used()

    async def _live(self) -> str:
        """Run the child once and return what became of it."""
        self._answers.clear()
        self._output.forget()
        self._say(f"starting {self.child.name}")
        try:
            if self.child.prepare:
                await self.child.prepare()
            self._process = await ChildProcess.start(self.child, self._output)
        except Exception as error:  # what a caller's hook raises must not end the other children
            if isinstance(error, ConfigError) and not self.up.is_set():
                raise
            return f"could not be started: {error}"
        fate = await self._watch(self._process)
        self._process = None
        return fate

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
                self._say(f"{self.child.name} is ready")
                self.up.set()
                self._answers.set()
            return f"ended: {await ended}"
        finally:
            for task in (ended, ready):
                task.cancel()

    async def _wait_ready(self) -> str | None:
        """Return None once the child is ready, or what is wrong."""
        try:
            async with asyncio.timeout(self.child.ready_timeout):
                if self.child.ready:
                    await self.child.ready()
        except TimeoutError:
            return f"was not ready within {self.child.ready_timeout:.3g} s"
        except Exception as error:  # a caller's hook
            return f"was not ready: {error}"
        return None

    def _last_word(self, deaths: int) -> str:
        return "giving up" if self._never_ready else f"it died {deaths} times in quick succession, giving up"

    def _report(self, fate: str, outlook: str) -> str:
        lines = self._output.last_lines()
        intro = f"; its last lines (all of them: {self._output.path}):" if lines else "; it wrote nothing"
        return "\n".join([f"{self.child.name} {fate}; {outlook}{intro}", *(f"  | {line}" for line in lines)])
