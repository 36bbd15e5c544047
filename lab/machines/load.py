"""Triggers continuously through all gateways, and records each answer with its time."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus

from ..load import PATH, Connection
from ..process import until

__all__ = ["Answered", "GatewayLoad"]

PORT = 8080
_PAUSE = 0.05
"""Seconds between the calls of one caller."""
_TIMEOUT = 15.0
_USER = {"external_id": "user-1", "email": "user-1@faults.example"}


@dataclass(frozen=True, slots=True)
class Answered:
    """One call that got an answer, or an error."""

    call: str
    begun: float
    """Seconds of `time.monotonic`."""
    ended: float
    result: str
    """The status, or the type of the error."""
    trigger_id: str = ""

    @property
    def accepted(self) -> bool:
        """Whether the answer was 204."""
        return bool(self.trigger_id)


@dataclass
class GatewayLoad:
    """The load. A call that failed is not repeated: it may have been accepted."""

    hosts: Sequence[str]
    """The gateways' addresses."""
    key: str
    answers: list[Answered] = field(default_factory=list)
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    @property
    def accepted(self) -> dict[str, str]:
        """Trigger IDs by the names of the calls that were answered with 204."""
        return {one.call: one.trigger_id for one in self.answers if one.accepted}

    def others(self, since: float = 0.0) -> Counter[str]:
        """Return how many answers since a moment were not 204, by status or error."""
        return Counter(one.result for one in self.answers if not one.accepted and one.ended >= since)

    def longest_gap(self, begin: float, end: float) -> float:
        """Return the longest time without a 204 between two moments, in seconds."""
        times = sorted(one.ended for one in self.answers if one.accepted and begin <= one.ended <= end)
        return max(later - earlier for earlier, later in itertools.pairwise((begin, *times, end)))

    async def first_accepted(self, since: float, seconds: float) -> float | None:
        """Return when the first 204 after a moment arrived, or None if it did not in time."""
        found = self._after(since)
        return found() if await until(lambda: found() is not None, seconds, every=0.02) else None

    @asynccontextmanager
    async def running(self, callers: int) -> AsyncIterator[None]:
        """Call until the block ends; then every caller waits for its last answer."""
        ending = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            for number in range(callers):
                group.create_task(self._repeat(self.hosts[number % len(self.hosts)], ending))
            try:
                yield
            finally:
                ending.set()

    def _after(self, since: float) -> Callable[[], float | None]:
        seen = len(self.answers)
        while seen and self.answers[seen - 1].ended >= since:
            seen -= 1
        return lambda: next((one.ended for one in self.answers[seen:] if one.accepted), None)

    async def _repeat(self, host: str, ending: asyncio.Event) -> None:
        connection = Connection(PORT, self.key, host)
        while not ending.is_set():
            await self._call(connection)
            await asyncio.sleep(_PAUSE)
        connection.close()

    async def _call(self, connection: Connection) -> None:
        call, begun, trigger_id = f"machines-{next(self._numbers)}", time.monotonic(), ""
        body = json.dumps({"user": _USER, "event": {"call": call}}).encode()
        try:
            async with asyncio.timeout(_TIMEOUT):
                answer = await connection.post(PATH, body)
        except (OSError, TimeoutError) as error:
            result = type(error).__name__
        else:
            result = str(answer.status)
            if answer.status == HTTPStatus.NO_CONTENT:
                trigger_id = answer.header("x-trigger-id")
        self.answers.append(Answered(call, begun, time.monotonic(), result, trigger_id))
