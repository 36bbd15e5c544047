"""Renders messages without delaying other deliveries.

Nearly every message renders in 0.1 ms, on the event loop. One that takes longer is rendered again in a thread
that projects use in turn. The campaign's next messages are rendered there directly, until one is quick.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar
from weakref import WeakValueDictionary

from ..channels.base import Message
from ..domain.campaign import Campaign
from ..domain.trigger import Trigger
from ..templates.limits import MAX_SECONDS, SWITCH_SECONDS
from ..templates.render import Renderer, TooSlow

__all__ = ["RETRY_SECONDS", "FairRenderer"]

ResultT = TypeVar("ResultT")
_LOOP_SECONDS = 0.002
"""The default for `FairRenderer`: twenty times the CPU time of the demo's email, in seconds."""
MAX_WAITING = 8
"""Messages of a project that may wait for the thread. They hold slots of their provider, which other projects
need, and eight messages at their limit keep the thread busy for `RETRY_SECONDS`."""
RETRY_SECONDS = 2.0


class FairRenderer:
    """Renders quick messages on the event loop, and slow ones in a thread that projects share fairly.

    Args:
        loop_seconds: The CPU time that a message may take on the event loop, in seconds.
    """

    def __init__(self, loop_seconds: float = _LOOP_SECONDS) -> None:
        self._loop_seconds = loop_seconds
        self._quick = Renderer(seconds=loop_seconds)
        self._slow = Renderer(seconds=MAX_SECONDS)  # the thread's own, because its cache is not locked
        # One thread: with more, the event loop would compete with all of them for the interpreter.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="render")
        self._turn = asyncio.Lock()
        self._slow_campaigns: set[tuple[int, int]] = set()
        self._waiting: Counter[int] = Counter()
        sys.setswitchinterval(SWITCH_SECONDS)
        self._projects: WeakValueDictionary[int, asyncio.Lock] = WeakValueDictionary()

    def is_behind(self, campaign: Campaign) -> bool:
        """Return whether to try a message again in `RETRY_SECONDS`, because too many wait for the thread."""
        is_slow = (campaign.project_id, campaign.id) in self._slow_campaigns
        return is_slow and self._waiting[campaign.project_id] >= MAX_WAITING

    async def render(self, campaign: Campaign, trigger: Trigger, *, timezone_fallback: str) -> Message:
        """Return the message of a trigger.

        Args:
            campaign: The campaign, with its templates.
            trigger: The trigger, with the data to render.
            timezone_fallback: The time zone of users without one.

        Raises:
            RenderError: A template is invalid or exceeds a limit.
            ProviderError: The campaign's sender is not an email address.
        """
        key = campaign.project_id, campaign.id
        if key not in self._slow_campaigns:
            try:
                return self._quick.render(campaign, trigger, timezone_fallback=timezone_fallback)
            except TooSlow:
                self._slow_campaigns.add(key)

        def work() -> tuple[Message, float]:
            started = time.thread_time()
            message = self._slow.render(campaign, trigger, timezone_fallback=timezone_fallback)
            return message, time.thread_time() - started

        message, seconds = await self._in_turn(campaign.project_id, work)
        if seconds < self._loop_seconds:
            self._slow_campaigns.discard(key)
        return message

    async def _in_turn(self, project_id: int, work: Callable[[], ResultT]) -> ResultT:
        """Return the result of `work`, done in the thread when it is the project's turn."""
        project = self._projects.get(project_id)
        if project is None:
            project = self._projects[project_id] = asyncio.Lock()
        self._waiting[project_id] += 1
        try:
            # A project waits for the thread with one message at a time, so that projects take turns.
            async with project, self._turn:
                return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        finally:
            self._waiting[project_id] -= 1
            if not self._waiting[project_id]:
                del self._waiting[project_id]
