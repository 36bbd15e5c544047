"""A hung primary and its standby: triggers are accepted again soon after the standby is promoted."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest
import structlog
from asyncpg.pool import PoolConnectionProxy

from lab.replicas import Replica, added_standby, replicas, url_of
from server.domain.trigger import Trigger
from server.errors import StoreUnavailable
from server.store.accept.group_commit import TriggerWriter
from server.store.pool import Pool, open_pool
from server.store.primary import Primary
from server.store.queue.triggers import SESSION
from server.store.timelines import Replaced
from tests.kit.cluster import copy_cluster
from tests.kit.store import PLACE, a_trigger, writing
from tests.kit.until import until

pytestmark = pytest.mark.xdist_group("failover")


@pytest.fixture
async def pair() -> AsyncIterator[tuple[Replica, Replica]]:
    """A primary with an empty schema, and its synchronous standby."""
    folder = Path(tempfile.mkdtemp(prefix="cl-", dir="/tmp"))
    try:
        await copy_cluster(folder / "one")
        async with replicas(folder, synchronous=True) as servers:
            await servers[0].execute("INSERT INTO project (id, name) VALUES (1, 'one')")
            yield servers
    finally:
        shutil.rmtree(folder)


@asynccontextmanager
async def connected(*servers: Replica) -> AsyncIterator[Pool]:
    """Open a pool as a server does, which watches its primary."""
    url = url_of(servers)
    primary = Primary(url, connect_timeout=5)

    async def opened() -> Pool | None:
        try:
            return await open_pool(url, size=6, connect_timeout=5, settings=SESSION, primary=primary)
        except StoreUnavailable:  # of several hosts, none answered in 2 seconds: this machine is busy
            return None

    pool = await until(opened, "a pool is open")
    assert pool
    watching = asyncio.create_task(primary.watch())
    try:
        yield pool
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        pool.terminate()


async def attempt(writer: TriggerWriter) -> Trigger | None:
    """Return a new trigger if it is accepted before a caller's deadline."""
    trigger = a_trigger()
    try:
        async with asyncio.timeout(5):
            await writer.add(trigger, PLACE)
    except (StoreUnavailable, TimeoutError):
        return None
    return trigger


async def accepted(writer: TriggerWriter) -> Trigger:
    """Return the first trigger that is accepted; the time limit only ends a failed test."""
    trigger = await until(lambda: attempt(writer), "a trigger is accepted", 60)
    assert trigger
    return trigger


async def stored(server: Replica) -> set[object]:
    async with connected(server) as pool:
        return {row["id"] for row in await pool.fetch("SELECT id FROM trigger")}


def is_closed(connection: PoolConnectionProxy[asyncpg.Record]) -> bool:
    try:
        return connection.is_closed()
    except asyncpg.InterfaceError:  # it is back in the pool
        return True


async def test_failover_from_a_hung_primary(pair: tuple[Replica, Replica]) -> None:
    first, second = pair
    async with connected(first, second) as pool, writing(pool) as writer:
        before = await accepted(writer)
        idle = [await pool.acquire() for _ in range(3)]
        first.freeze()
        waiting = asyncio.create_task(attempt(writer))
        await second.promote()
        after = await accepted(writer)
        await waiting
        await until(lambda: all(map(is_closed, idle)), "connections to the first are closed")
        # Both are primaries now, and the old one comes first.
        first.thaw()
        await pool.expire_connections()
        async with connected(first, second) as new_pool, writing(new_pool) as new_writer:
            late = [await accepted(writer), await accepted(new_writer)]
    assert {one.id for one in (before, after, *late)} <= await stored(second)
    assert before.id in await stored(first)
    assert not {one.id for one in (after, *late)} & await stored(first)


@pytest.mark.long
async def test_replaced_primary_that_still_answers_is_left(pair: tuple[Replica, Replica]) -> None:
    """As after a broken network between the two: the standby was promoted, and the primary did not notice."""
    first, second = pair
    async with connected(first, second) as pool, writing(pool) as writer:
        await accepted(writer)
        await first.execute("ALTER SYSTEM RESET synchronous_standby_names", "SELECT pg_reload_conf()")
        await second.promote()

        async def on_the_second() -> bool:
            trigger = await attempt(writer)
            return trigger is not None and trigger.id in await stored(second)

        await until(on_the_second, "triggers are stored by the new primary", 60)


@pytest.mark.long
async def test_new_process_refuses_replaced_primary(pair: tuple[Replica, Replica], short: Path) -> None:
    """The process has no memory of the failover, and does not reach the new primary."""
    first, second = pair
    await second.promote()
    async with added_standby(second, short / "three") as third:
        second.freeze()
        with structlog.testing.capture_logs() as logs, pytest.raises(Replaced, match="timeline 1, newest 2"):
            await Primary(url_of([first, third]), connect_timeout=5).connect()
    refused = [one for one in logs if one["event"].startswith("refused a database server")]
    assert [one["server"] for one in refused] == [f"{first.server.sockets}:5432"]
