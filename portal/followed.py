"""Lists that viewers follow. As long as a list has viewers, one task reads it on behalf of all of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import TypeAlias

from .errors import ApiError
from .live import UP_TO_DATE, LiveRow
from .stream_limits import Owner, StreamLimits

__all__ = ["READ_SECONDS", "FollowedLists", "Load", "ReadPacer", "Viewer"]

Load: TypeAlias = Callable[[], Awaitable[Sequence[LiveRow]]]
"""Reads the rows of a list, newest first, on behalf of one viewer."""
Events: TypeAlias = dict[str, str]
"""The event of each row of a list by the row's ID, newest first."""
READ_SECONDS = 1.0
"""The pause between two reads of a list."""
_SHARE = 0.1
"""The part of the time that reading lists may take, one at a time: a tenth of one core."""
_LONGEST_SECONDS = 1.0
"""The time of a read that counts toward the pause after it: a slow server must not stop all tails."""


class ReadPacer:
    """Reads lists one at a time, with pauses.

    The more lists there are, and the longer reads take, the less often each list is read. So viewers cannot
    use much of the servers' time.

    Args:
        clock: Returns seconds.
        sleep: Waits for this number of seconds.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._clock = clock
        self._sleep = sleep
        self._turn = asyncio.Lock()
        self._next_at = 0.0

    async def read(self, load: Load) -> Sequence[LiveRow]:
        """Read a list when it is its turn."""
        async with self._turn:
            began = self._clock()
            if began < self._next_at:
                await self._sleep(self._next_at - began)
                began = self._clock()
            try:
                return await load()
            finally:
                ended = self._clock()
                self._next_at = ended + min(ended - began, _LONGEST_SECONDS) * (1 / _SHARE - 1)


class _List:
    """A list, its viewers, and the task that reads it for them.

    Args:
        pacer: Reads the list when it is its turn.
        seconds: The pause between two reads.
    """

    def __init__(self, pacer: ReadPacer, seconds: float) -> None:
        self._pacer = pacer
        self._seconds = seconds
        self._viewers: list[Viewer] = []
        self._found: Events | None = None
        self._read = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def add(self, viewer: Viewer) -> None:
        """Start to read the list for this viewer, too."""
        self._viewers.append(viewer)
        self._task = self._task or asyncio.create_task(self._read_repeatedly())

    def remove(self, viewer: Viewer) -> None:
        """Forget a viewer. Stop reading the list after the last one."""
        if viewer in self._viewers:
            self._viewers.remove(viewer)
        if self._task and not self._viewers:
            self._task.cancel()
            self._task = None

    @property
    def is_followed(self) -> bool:
        """Whether there are viewers."""
        return bool(self._viewers)

    async def next_after(self, seen: Events | None, viewer: Viewer) -> Events:
        """Return the rows of the list; wait for the next read if the viewer has seen the latest."""
        while not viewer.error:
            if self._found is not None and self._found is not seen:
                return self._found
            await self._read.wait()
        raise viewer.error

    async def _read_repeatedly(self) -> None:
        while self._viewers:
            reader = self._viewers[0]
            try:
                rows = await self._pacer.read(reader.load)
            except Exception as error:  # raised in the viewers that it concerns
                self._fail(reader, error)
                self._wake()
            else:
                self._found = {row.id: row.event for row in rows}
                self._wake()
                await asyncio.sleep(self._seconds)
        self._task = None

    def _fail(self, reader: Viewer, error: Exception) -> None:
        """Pass an error to all viewers, or only to the reader if its session has ended."""
        is_own = isinstance(error, ApiError) and error.is_signed_out
        for viewer in [reader] if is_own else list(self._viewers):
            viewer.error = error
        self._viewers = [viewer for viewer in self._viewers if not viewer.error]

    def _wake(self) -> None:
        self._read.set()
        self._read = asyncio.Event()


class Viewer:
    """One subscriber to a list.

    Args:
        lists: The lists that are followed.
        key: The list, and what decides who may see it: viewers with the same key share its reads.
        load: Reads it on this viewer's behalf.
        owner: The session and person that follow it.
    """

    def __init__(self, lists: FollowedLists, key: Hashable, load: Load, owner: Owner) -> None:
        self.load = load
        self.owner = owner
        self.error: Exception | None = None
        """Why it cannot be read on this viewer's behalf."""
        self._lists = lists
        self._key = key
        self._list: _List | None = None
        self._seen: Events | None = None

    async def changes(self) -> str:
        """Return the events of rows that are new or have changed, oldest first; wait until there are some.

        The first call returns those of all rows. A row that has changed twice is returned once.

        Raises:
            TooManyStreams: The owner follows too many lists.
            PortalError: The list cannot be read.
        """
        if self._list is None:
            self._list = self._lists.enter(self._key, self)
        while True:
            seen, self._seen = self._seen, await self._list.next_after(self._seen, self)
            if seen is None:
                return _changes({}, self._seen) + UP_TO_DATE
            if changes := _changes(seen, self._seen):
                return changes

    def close(self) -> None:
        """Stop following the list."""
        if self._list:
            self._lists.leave(self._key, self._list, self)
            self._list = None


class FollowedLists:
    """The lists that are followed now.

    Args:
        limits: Bounds the viewers of each owner.
        pacer: Reads them, one at a time.
        seconds: The pause between two reads of a list.
    """

    def __init__(
        self, limits: StreamLimits, pacer: ReadPacer | None = None, seconds: float = READ_SECONDS
    ) -> None:
        self._limits = limits
        self._pacer = pacer or ReadPacer()
        self._seconds = seconds
        self._lists: dict[Hashable, _List] = {}

    def __len__(self) -> int:
        """Return the number of lists."""
        return len(self._lists)

    def enter(self, key: Hashable, viewer: Viewer) -> _List:
        """Let a viewer follow a list.

        Raises:
            TooManyStreams: The owner follows too many.
        """
        self._limits.take(viewer.owner)
        if key not in self._lists:
            self._lists[key] = _List(self._pacer, self._seconds)
        self._lists[key].add(viewer)
        return self._lists[key]

    def leave(self, key: Hashable, followed: _List, viewer: Viewer) -> None:
        """Forget a viewer, and the list after the last one."""
        self._limits.release(viewer.owner)
        followed.remove(viewer)
        if not followed.is_followed and self._lists.get(key) is followed:
            del self._lists[key]


def _changes(seen: Events, found: Events) -> str:
    return "".join(event for row, event in reversed(found.items()) if seen.get(row) != event)
