"""A queue in memory that keeps its promises, and providers that do as the test says."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import msgspec

from server.dispatch.message import Message
from server.dispatch.providers.base import Receipt, SendingPolicy
from server.domain.campaign import Campaign, Channel, RetryPolicy, Template
from server.domain.delivery import AttemptOutcome, Claim, Finished
from server.domain.trigger import Trigger
from server.errors import StoreUnavailable

ADDRESS = "zoe.sommer@example.org"


def make_trigger(address: str = ADDRESS, campaign_id: int = 44, **fields: str) -> Trigger:
    fresh = Trigger(uuid.uuid4(), 1, campaign_id, Channel.EMAIL, "user-1", address)
    return msgspec.structs.replace(fresh, **fields)


def make_campaign(**fields: object) -> Campaign:
    fresh = Campaign(
        project_id=1,
        id=44,
        name="Orders",
        channel=Channel.EMAIL,
        provider="mail",
        sender="Shop <shop@example.com>",
        templates={"default": Template(subject="Hello", text="Order {{ event.id }}")},
        retry=RetryPolicy(max_attempts=3, first_delay=0.001, max_delay=0.01),
    )
    return replace(fresh, **fields)  # type: ignore[arg-type]


def make_claim(trigger: Trigger | None = None, attempt: int = 1, provider: str = "mail") -> Claim:
    return Claim(trigger or make_trigger(), attempt, provider, dt.datetime.now(dt.UTC))


@dataclass
class Row:
    trigger: Trigger
    provider: str
    attempt: int = 0
    due: float = 0.0


class MemoryQueue:
    """Implements `Queue`: leases run out, attempts count, announcements are not lost."""

    def __init__(self) -> None:
        self.rows: dict[uuid.UUID, Row] = {}
        self.attempts: list[Finished] = []
        self.dead: list[Finished] = []
        self.claims = 0
        self.finishes = 0
        self.handed_back: list[Claim] = []
        self.finish_down = False
        self.down = False
        self.finish_failures = 0
        self._news = asyncio.Event()
        self.changed = asyncio.Condition()

    def add(self, *triggers: Trigger, provider: str = "mail") -> None:
        for trigger in triggers:
            self.rows[trigger.id] = Row(trigger, provider)
        self._news.set()

    async def claim(self, free: Mapping[str, int], lease: float) -> list[Claim]:
        self.claims += 1
        await asyncio.sleep(0)
        self._reach(down=self.down)
        left, now, taken = dict(free), time.monotonic(), []
        for row in self.rows.values():
            if row.due <= now and left.get(row.provider, 0) > 0:
                left[row.provider] -= 1
                row.attempt, row.due = row.attempt + 1, now + lease
                taken.append(make_claim(row.trigger, row.attempt, row.provider))
        return taken

    async def finish(self, finished: Sequence[Finished]) -> None:
        self.finishes += 1
        await asyncio.sleep(0)
        if self.finish_down:
            self.finish_failures += 1
            await self._changed()
        self._reach(down=self.down or self.finish_down)
        for done in finished:
            self.attempts.append(done)
            self._settle(done)
        await self._changed()

    def _settle(self, done: Finished) -> None:
        row = self.rows.get(done.claim.trigger.id)
        if row is None:
            return
        if done.attempt.outcome is AttemptOutcome.RETRY:
            row.due = time.monotonic() + (done.retry_in or 0.0)
            return
        del self.rows[row.trigger.id]
        if done.attempt.outcome is AttemptOutcome.DEAD:
            self.dead.append(done)

    async def hand_back(self, claims: Sequence[Claim]) -> None:
        self._reach(down=self.down)
        for claim in claims:
            row = self.rows[claim.trigger.id]
            row.attempt, row.due = row.attempt - 1, 0.0
        self.handed_back += claims
        await self._changed()

    async def wait(self, timeout: float) -> None:  # noqa: ASYNC109 - the Protocol's
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._news.wait()
        self._news.clear()

    async def until_attempts(self, count: int) -> None:
        async with asyncio.timeout(10), self.changed:
            await self.changed.wait_for(lambda: len(self.attempts) >= count)

    async def until_finish_failed(self) -> None:
        async with asyncio.timeout(10), self.changed:
            await self.changed.wait_for(lambda: self.finish_failures > 0)

    async def _changed(self) -> None:
        async with self.changed:
            self.changed.notify_all()

    def _reach(self, *, down: bool) -> None:
        if down:
            raise StoreUnavailable


class MemoryCampaigns:
    """Implements `Campaigns`."""

    def __init__(self, *campaigns: Campaign) -> None:
        self.all = {(campaign.project_id, campaign.id): campaign for campaign in campaigns}
        self.down = False

    async def campaign(self, project_id: int, campaign_id: int) -> Campaign | None:
        if self.down:
            raise StoreUnavailable
        return self.all.get((project_id, campaign_id))


class ScriptedProvider:
    """Implements `Provider`: raises what is in `script`, one after the other, then takes everything."""

    channels = frozenset({Channel.EMAIL})

    def __init__(
        self, name: str = "mail", *script: Exception, concurrency: int = 4, timeout: float = 5.0
    ) -> None:
        self.name = name
        self.concurrency = concurrency
        self.timeout = timeout
        self.policy = SendingPolicy(breaker_failures=0)
        self.script = list(script)
        self.sent: list[Message] = []
        self.most = 0
        self._under_way = 0
        self.open = asyncio.Event()
        self.open.set()
        self.reached = asyncio.Event()

    async def send(self, message: Message) -> Receipt:
        self._under_way += 1
        self.most = max(self.most, self._under_way)
        self.reached.set()
        try:
            await self.open.wait()
        finally:
            self._under_way -= 1
        if self.script:
            raise self.script.pop(0)
        self.sent.append(message)
        return Receipt(f"id-{len(self.sent)}")

    async def aclose(self) -> None:
        """Nothing to close."""
