"""Triggers continuously from several callers, and records which calls were accepted."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from http import HTTPStatus

from ..errors import LabError
from ..load import PATH, Connection
from ..process import until
from .system import System

__all__ = ["PAUSE", "RecordedLoad"]

PAUSE = 0.04
"""Seconds between the calls of one caller."""
_TIMEOUT = 15.0
_PATIENCE = 120.0
"""Seconds after which a run fails."""


class RecordedLoad:
    """Each call has a name, which is the subject of its mail; calls and mails are matched by it.

    A call that failed is not repeated: it may have been accepted.
    """

    def __init__(self, system: System, name: str, *, keyed: bool = False, own_users: bool = False) -> None:
        """Prepare the load.

        Args:
            system: what to call.
            name: the start of the calls' names.
            keyed: whether each call has its name as its idempotency key.
            own_users: whether each call is for its own user, whose address starts with the call's name.
        """
        self.answered_at: dict[str, float] = {}
        """When the accepted calls were answered, in seconds since 1970."""
        self._keyed = keyed
        self.accepted: dict[str, str] = {}
        """Trigger IDs by the names of the calls that were answered with 204."""
        self.refused: Counter[str] = Counter()
        """Other answers, by status or error."""
        self.slowest = 0.0
        """Seconds of the slowest answer."""
        self.name = name
        self._own_users = own_users
        self._system = system
        self._numbers = itertools.count(1)

    @asynccontextmanager
    async def running(self, callers: int) -> AsyncIterator[None]:
        """Call until the block ends; then every caller waits for its last answer."""
        ending = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            for _ in range(callers):
                group.create_task(self._repeat(ending))
            try:
                yield
            finally:
                ending.set()

    async def until_accepted(self, count: int) -> None:
        """Wait until this number of calls was accepted.

        Raises:
            LabError: It was not within two minutes.
        """
        if not await until(lambda: len(self.accepted) >= count, _PATIENCE, every=0.02):
            raise LabError(
                f"only {len(self.accepted)} calls were accepted; other answers: {dict(self.refused)}"
            )

    async def repeated(self, system: System, calls: Iterable[str]) -> dict[str, str]:
        """Repeat accepted calls with their idempotency keys; return the trigger IDs of those accepted."""
        connection = Connection(system.port, system.product.key)
        found = {}
        for call in calls:
            answer = await connection.post(PATH, self._body(call), call)
            if answer.status == HTTPStatus.NO_CONTENT:
                found[call] = answer.header("x-trigger-id")
        connection.close()
        return found

    async def at_once(self, count: int) -> None:
        """Make this number of calls at the same time, all for one user."""
        connections = [self._connection() for _ in range(count)]
        await asyncio.gather(*map(self._call, connections))
        for connection in connections:
            connection.close()

    def _connection(self) -> Connection:
        return Connection(self._system.port, self._system.product.key)

    async def _repeat(self, ending: asyncio.Event) -> None:
        connection = self._connection()
        while not ending.is_set():
            await self._call(connection)
            await asyncio.sleep(PAUSE)
        connection.close()

    async def _call(self, connection: Connection) -> None:
        call = f"{self.name}-{next(self._numbers)}"
        body = self._body(call)
        begun = time.monotonic()
        try:
            async with asyncio.timeout(_TIMEOUT):
                answer = await connection.post(PATH, body, call if self._keyed else "")
        except (OSError, TimeoutError) as error:
            self.refused[type(error).__name__] += 1
            return
        self.slowest = max(self.slowest, time.monotonic() - begun)
        if answer.status == HTTPStatus.NO_CONTENT:
            self.accepted[call] = answer.header("x-trigger-id")
            self.answered_at[call] = time.time()
        else:
            self.refused[str(answer.status)] += 1

    def _body(self, call: str) -> bytes:
        name = call if self._own_users else "user-1"
        user = {"external_id": name, "email": f"{name}@faults.example"}
        return json.dumps({"user": user, "event": {"call": call}}).encode()
