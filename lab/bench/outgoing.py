"""The stand for deliveries: PostgreSQL with triggers that wait, and dispatchers that deliver them.

It polls for what PostgreSQL and other processes do, of which nothing here is told.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import uuid_utils.compat
import yaml

from server.config import load
from server.domain.campaign import Channel, lane_of
from server.domain.placement import Placement
from server.domain.trigger import Trigger
from server.postgres.embedded import EmbeddedPostgres
from server.store.accept.group_commit import TriggerWriter
from server.store.accept.notify import Notifier
from server.store.pool import Pool, open_pool
from server.store.schema.migrate import migrate
from server.up import demo
from server.up.data_folder import RunDir
from server.wiring.campaigns import apply_campaign_file
from server.wiring.common import build_providers

from ..product.process import running, until_logged
from ..product.sink import Sink
from .plan import BenchError

__all__ = ["Outgoing", "Road", "a_trigger", "outgoing", "postgres", "smtp", "write", "writing"]

_READY_SECONDS = 30.0
_OF_DEMO = {Channel.EMAIL: 44, Channel.TEXT: 45, Channel.PUSH: 46}
_DEVICE = "fQw4t9zXR%05d:APA91b" + "Hk3_x-Z9" * 17
_ADDRESSES = {Channel.EMAIL: "user-%d@example.com", Channel.TEXT: "+1202555%04d", Channel.PUSH: _DEVICE}
_PHONES = 10_000
_MOST_AT_ONCE = 100_000


@dataclass(frozen=True, slots=True)
class Road:
    """A campaign of its own, with the demo's templates, and the providers that it goes through."""

    campaign_id: int
    channel: Channel
    providers: tuple[str, ...]

    @property
    def lane(self) -> str:
        """Its lane in the queue."""
        return lane_of(self.channel, self.providers)


@dataclass(frozen=True, slots=True)
class Outgoing:
    """PostgreSQL with schema and campaigns, and how to start what delivers."""

    run: RunDir
    pool: Pool
    writer: TriggerWriter
    postgres: int
    """Its process id."""
    project_id: int
    env: Mapping[str, str]

    async def fill(self, road: Road, count: int) -> None:
        """Write triggers for a campaign, by the server's own writer."""
        triggers = [a_trigger(self.project_id, road.campaign_id, road.channel, n) for n in range(count)]
        await write(self.writer, triggers, road.lane)

    async def clear(self) -> None:
        """Forget all triggers and their messages, and flush the disk."""
        await self.pool.execute("TRUNCATE trigger, queue, attempt, dead_letter, suppression")
        await self.pool.execute("CHECKPOINT")
        await asyncio.to_thread(shutil.rmtree, self.run.data / "outbox", ignore_errors=True)

    @asynccontextmanager
    async def dispatching(self) -> AsyncIterator[asyncio.subprocess.Process]:
        """Run a dispatcher for the block."""
        log = self.run.data / "dispatcher.log"
        log.unlink(missing_ok=True)
        command = [sys.executable, "-P", "-m", "server", "dispatch"]
        async with running(command, log, env=self.env) as process:
            await until_logged(process, log, "dispatching", _READY_SECONDS)
            yield process

    async def begun(self) -> int:
        """Wait until attempts are on record; return how many."""
        while not (recorded := await self.pool.fetchval("SELECT count(*) FROM attempt")):  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        return int(recorded)

    async def ended(self, *lanes: str) -> None:
        """Wait until nothing waits in these lanes any more; in none, if no lane is given."""
        sql = "SELECT EXISTS (SELECT FROM queue WHERE cardinality($1::text[]) = 0 OR lane = ANY($1))"
        while await self.pool.fetchval(sql, lanes):  # noqa: ASYNC110
            await asyncio.sleep(0.02)

    async def check(self, messages: int) -> None:
        """See to it that each message was delivered, at once.

        Raises:
            BenchError: some were not.
        """
        rows = await self.pool.fetch(
            "SELECT outcome, count(*) AS n, max(error) FROM attempt GROUP BY outcome"
        )
        found = {row["outcome"]: row["n"] for row in rows}
        if found != {"delivered": messages}:
            errors = [row["max"] for row in rows if row["max"]]
            raise BenchError(f"not all {messages} were delivered at the first attempt: {found} {errors}")


def smtp(sink: Sink, connections: int, **settings: object) -> dict[str, Any]:
    """Return the settings of a provider for an SMTP sink."""
    address = {"host": "127.0.0.1", "port": sink.port, "security": "none"}
    return {"type": "smtp", **address, "connections": connections, **settings}


@asynccontextmanager
async def postgres(run: RunDir) -> AsyncIterator[tuple[EmbeddedPostgres, int]]:
    """Run the embedded PostgreSQL for the block; give it and its process id."""
    server = EmbeddedPostgres(run.data, run.sockets)
    await server.prepare()
    async with running(server.command(), run.data / "postgres.log", stop=signal.SIGINT) as process:
        await server.wait_ready(_READY_SECONDS)
        yield server, process.pid


@asynccontextmanager
async def outgoing(
    run: RunDir, providers: Mapping[str, Mapping[str, object]], roads: Sequence[Road]
) -> AsyncIterator[Outgoing]:
    """Run PostgreSQL, with a campaign for each road."""
    async with postgres(run) as (server, pid):
        await migrate(server.url)
        env = {"CLARION_DATA_DIR": str(run.data), "CLARION_DATABASE_URL": server.url, **_variables(providers)}
        file = run.data / "campaigns.yaml"
        file.write_text(json.dumps(_campaigns(roads)))  # YAML, too
        settings = load(None, env)
        pool = await open_pool(server.url, size=4, connect_timeout=_READY_SECONDS)
        try:
            project_id, _ = await apply_campaign_file(pool, file, build_providers(settings))
            async with writing(pool) as writer:
                yield Outgoing(run, pool, writer, pid, project_id, env)
        finally:
            pool.terminate()


@asynccontextmanager
async def writing(pool: Pool) -> AsyncIterator[TriggerWriter]:
    """Run the server's own writer for the block; it keeps one of the pool's connections."""
    announcer = Notifier(pool)
    writer = TriggerWriter(pool, announcer, max_pending=_MOST_AT_ONCE)
    working = [asyncio.create_task(part.run()) for part in (writer, announcer)]
    try:
        yield writer
    finally:
        for task in working:
            task.cancel()
        await asyncio.gather(*working, return_exceptions=True)


async def write(writer: TriggerWriter, triggers: Sequence[Trigger], lane: str) -> None:
    """Write triggers into a lane, as the server does."""
    await asyncio.gather(*(writer.add(trigger, Placement(lane)) for trigger in triggers))


def a_trigger(project_id: int, campaign_id: int, channel: Channel, number: int) -> Trigger:
    """Return the documented example, for one of many users."""
    return Trigger(
        id=uuid_utils.compat.uuid7(),
        project_id=project_id,
        campaign_id=campaign_id,
        channel=channel,
        external_id=f"customer-{number}",
        address=_ADDRESSES[channel] % (number % _PHONES),
        timezone="America/Chicago",
        locale="en",
        event='{"random_field": "value"}',
    )


def _variables(providers: Mapping[str, Mapping[str, object]]) -> dict[str, str]:
    return {
        f"CLARION_PROVIDERS_{provider.upper()}_{setting.upper()}": str(value)
        for provider, settings in providers.items()
        for setting, value in settings.items()
    }


def _campaigns(roads: Sequence[Road]) -> dict[str, object]:
    """Return the demo's campaigns, each with a road's number and providers."""
    known = {one["id"]: one for one in yaml.safe_load(demo.CAMPAIGNS.read_text())["campaigns"]}
    given = []
    for road in roads:
        campaign = {**known[_OF_DEMO[road.channel]], "id": road.campaign_id, "providers": road.providers}
        del campaign["provider"]
        given.append(campaign)
    return {"project": "bench", "campaigns": given}
