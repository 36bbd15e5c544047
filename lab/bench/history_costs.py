"""What single statements cost in databases with and without history. Part of `lab.bench.history`."""

from __future__ import annotations

import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from server.domain.campaign import Channel
from server.domain.delivery import Claim, ClaimRequest, DeliveryFilter, DeliveryState
from server.store.accept.group_commit import TriggerWriter
from server.store.pool import READING, Pool, open_pool
from server.store.queue.triggers import SESSION, PostgresQueue
from server.store.records.find import find_delivery
from server.store.records.pages import list_triggers

from .claim_latency import LANE, PROVIDER, delivered
from .deliveries import example_trigger, running_writer, write
from .history_store import CAMPAIGNS

__all__ = ["OPERATIONS", "Measured", "Side", "side"]

ACCEPT, CLAIM, OUTCOME, STATUS = "accept 10", "claim 10", "record 10 outcomes", "status"
_LISTS = {
    "list of a project": DeliveryFilter(),
    "list of a campaign": DeliveryFilter(campaign_id=CAMPAIGNS[0]),
    "list of a user": DeliveryFilter(external_id="customer-7"),
    "list of what waits": DeliveryFilter(state=DeliveryState.PENDING),
    "list of what was delivered": DeliveryFilter(state=DeliveryState.DELIVERED),
}
OPERATIONS = (ACCEPT, CLAIM, OUTCOME, STATUS, *_LISTS)
_AT_ONCE = 10
_PAGE = 50
_LIVE = 3000
"""Triggers of the last minutes, in both databases."""
_WAITING = 300
_OF_A_USER = 60
_ANALYZE_SECONDS = 600.0


@dataclass(slots=True)
class Measured:
    """Microseconds of each call of an operation."""

    cpu: list[float] = field(default_factory=list)
    """Of PostgreSQL's process."""
    elapsed: list[float] = field(default_factory=list)


class Side:
    """One of the databases that are compared.

    Args:
        project_id: Its project.
        pools: Connections as a dispatcher has them, for lists, for single rows, and of the writer; one each.
        pids: PostgreSQL's processes of these.
        writer: A server's writer.
    """

    def __init__(
        self, project_id: int, pools: Sequence[Pool], pids: Sequence[int], writer: TriggerWriter
    ) -> None:
        self.measured: dict[str, Measured] = {}
        self._project_id = project_id
        queue, self._lists, self._rows, _ = pools
        self._queue, self._writer = PostgresQueue(queue), writer
        self._of_queue, self._of_lists, self._of_rows, self._of_writer = pids
        self._held: list[Claim] = []
        self._numbers = itertools.count()
        self._newest: list[Claim] = []

    async def live(self) -> None:
        """Accept triggers and deliver all but some of them."""
        for _ in range(_LIVE // 100):
            await self._accept(100)
        for _ in range((_LIVE - _WAITING) // 50):
            await self._claim(50)
            await self._finish()

    async def round(self) -> None:
        """Do everything once."""
        await self._timed(ACCEPT, self._of_writer, lambda: self._accept(_AT_ONCE))
        await self._timed(CLAIM, self._of_queue, lambda: self._claim(_AT_ONCE))
        await self._timed(OUTCOME, self._of_queue, self._finish)
        some = self._newest[0].id
        await self._timed(STATUS, self._of_rows, lambda: find_delivery(self._rows, some, self._project_id))
        for name, listed in _LISTS.items():
            await self._timed(name, self._of_lists, lambda listed=listed: self._list(listed))  # type: ignore[misc]

    async def _accept(self, count: int) -> None:
        triggers = [
            example_trigger(
                self._project_id,
                CAMPAIGNS[number % len(CAMPAIGNS)],
                Channel.EMAIL,
                7 if number % (_LIVE // _OF_A_USER) == 0 else 1_000_000 + number,
            )
            for number in itertools.islice(self._numbers, count)
        ]
        await write(self._writer, triggers, LANE)

    async def _claim(self, slots: int) -> None:
        self._held = await self._queue.claim([ClaimRequest(LANE, PROVIDER, slots)], 60)
        self._newest = self._held or self._newest

    async def _finish(self) -> None:
        await self._queue.finish([delivered(claim) for claim in self._held])

    async def _list(self, listed: DeliveryFilter) -> None:
        await list_triggers(self._lists, self._project_id, listed, after=None, limit=_PAGE)

    async def _timed(self, name: str, pid: int, call: Callable[[], Awaitable[object]]) -> None:
        cpu, began = _cpu(pid), time.perf_counter()
        await call()
        measured = self.measured.setdefault(name, Measured())
        measured.elapsed.append((time.perf_counter() - began) * 1e6)
        measured.cpu.append((_cpu(pid) - cpu) / 1e3)


@asynccontextmanager
async def side(url: str, project_id: int) -> AsyncIterator[Side]:
    """Open the connections to one of the databases, and let there be traffic."""
    async with AsyncExitStack() as stack:
        pools = []
        for chosen in (SESSION, READING, None, None):
            pool = await open_pool(url, size=1, connect_timeout=10, settings=chosen)
            stack.callback(pool.terminate)
            pools.append(pool)
        pids = [await pool.fetchval("SELECT pg_backend_pid()") for pool in pools]
        writer = await stack.enter_async_context(running_writer(pools[-1]))
        made = Side(project_id, pools, pids, writer)
        await made.live()
        await pools[2].execute("VACUUM ANALYZE queue, campaign")
        await pools[2].execute("ANALYZE trigger, attempt", timeout=_ANALYZE_SECONDS)
        yield made


def _cpu(pid: int) -> int:
    """Return the nanoseconds of CPU that a process has used."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0])
