"""Provides what the delivery benchmarks share: campaigns with chosen providers, and backlogs of triggers.

It polls to wait, because PostgreSQL and other processes do not notify it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import uuid_utils.compat
import yaml

from server.domain.campaign import Channel, lane_of
from server.domain.placement import Placement
from server.domain.trigger import Trigger
from server.store.accept.group_commit import TriggerWriter
from server.store.accept.notify import Notifier
from server.store.pool import Pool, open_pool
from server.up import demo

from ..errors import LabError
from ..product import Product

__all__ = ["Deliveries", "Route", "deliveries", "example_trigger", "running_writer", "write"]

_CONNECT_SECONDS = 30.0
_DEMO_CAMPAIGNS = {Channel.EMAIL: 44, Channel.TEXT: 45, Channel.PUSH: 46}
_DEVICE = "fQw4t9zXR%05d:APA91b" + "Hk3_x-Z9" * 17
_ADDRESSES = {Channel.EMAIL: "user-%d@example.com", Channel.TEXT: "+1202555%04d", Channel.PUSH: _DEVICE}
_PHONES = 10_000
_MAX_PENDING = 100_000


@dataclass(frozen=True, slots=True)
class Route:
    """A campaign with the demo's templates, and the providers that it uses."""

    campaign_id: int
    channel: Channel
    providers: tuple[str, ...]

    @property
    def lane(self) -> str:
        """Its lane in the queue."""
        return lane_of(self.channel, self.providers)


@dataclass(frozen=True, slots=True)
class Deliveries:
    """The product without servers, and the server's own writer to fill the queue."""

    product: Product
    pool: Pool
    _writer: TriggerWriter

    async def fill(self, route: Route, count: int) -> None:
        """Write triggers for a campaign with the server's own writer."""
        project_id = self.product.project_id
        triggers = [
            example_trigger(project_id, route.campaign_id, route.channel, number) for number in range(count)
        ]
        await write(self._writer, triggers, route.lane)

    async def first_attempts(self) -> int:
        """Wait until attempts are recorded; return their number."""
        while not (recorded := await self.pool.fetchval("SELECT count(*) FROM attempt")):  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        return int(recorded)

    async def drained(self, *routes: Route) -> None:
        """Wait until the queue has no triggers of these routes; without routes, until it is empty."""
        sql = "SELECT EXISTS (SELECT FROM queue WHERE cardinality($1::text[]) = 0 OR lane = ANY($1))"
        lanes = [route.lane for route in routes]
        while await self.pool.fetchval(sql, lanes):  # noqa: ASYNC110
            await asyncio.sleep(0.02)

    async def check_first_attempts(self, messages: int) -> None:
        """Check that every message was delivered at the first attempt.

        Raises:
            LabError: some were not.
        """
        rows = await self.pool.fetch(
            "SELECT outcome, count(*) AS n, max(error) FROM attempt GROUP BY outcome"
        )
        found = {row["outcome"]: row["n"] for row in rows}
        if found != {"delivered": messages}:
            errors = [row["max"] for row in rows if row["max"]]
            raise LabError(f"not all {messages} were delivered at the first attempt: {found} {errors}")


@asynccontextmanager
async def deliveries(
    core: Product, providers: Mapping[str, Mapping[str, object]], routes: Sequence[Route]
) -> AsyncIterator[Deliveries]:
    """Create a campaign for each route.

    Args:
        core: the product, without servers and dispatchers.
        providers: the settings of the providers, by name.
        routes: the campaigns.
    """
    file = core.run.data / "routes.yaml"
    file.write_text(json.dumps(_campaigns(routes)))  # JSON is YAML
    product = await core.with_campaigns(file, {"providers": providers})
    pool = await open_pool(product.database_url, size=4, connect_timeout=_CONNECT_SECONDS)
    try:
        async with running_writer(pool) as writer:
            yield Deliveries(product, pool, writer)
    finally:
        pool.terminate()


@asynccontextmanager
async def running_writer(pool: Pool) -> AsyncIterator[TriggerWriter]:
    """Run the server's own writer, which occupies one of the pool's connections."""
    notifier = Notifier(pool)
    writer = TriggerWriter(pool, notifier, max_pending=_MAX_PENDING)
    tasks = [asyncio.create_task(part.run()) for part in (writer, notifier)]
    try:
        yield writer
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def write(writer: TriggerWriter, triggers: Sequence[Trigger], lane: str) -> None:
    """Write triggers into a lane, as the server does."""
    await asyncio.gather(*(writer.add(trigger, Placement(lane)) for trigger in triggers))


def example_trigger(project_id: int, campaign_id: int, channel: Channel, number: int) -> Trigger:
    """Return the documented example, for user number `number`."""
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


def _campaigns(routes: Sequence[Route]) -> dict[str, object]:
    """Return the demo's campaigns with the routes' IDs and providers."""
    by_id = {one["id"]: one for one in yaml.safe_load(demo.CAMPAIGNS.read_text())["campaigns"]}
    campaigns = []
    for route in routes:
        demo_campaign = by_id[_DEMO_CAMPAIGNS[route.channel]]
        campaign = {**demo_campaign, "id": route.campaign_id, "providers": route.providers}
        del campaign["provider"]
        campaigns.append(campaign)
    return {"project": "bench", "campaigns": campaigns}
