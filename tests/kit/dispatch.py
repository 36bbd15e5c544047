"""A queue and campaigns in memory, and providers that follow a script."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import uuid
import zoneinfo
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from server.channels.base import Message
from server.dispatcher.dispatcher import Dispatcher
from server.dispatcher.ports import Queue
from server.dispatcher.providers.base import Provider, SendingPolicy
from server.dispatcher.rendering import FairRenderer
from server.dispatcher.router import ProviderRouter
from server.dispatcher.settings import DispatchSettings
from server.dispatcher.trigger_sender import TriggerSender
from server.domain.campaign import Campaign, Channel, RetryPolicy, Template
from server.domain.clock import SYSTEM_CLOCK, Clock
from server.domain.delivery import AttemptOutcome, Claim, ClaimRequest, Finished, Released
from server.domain.trigger import Trigger
from server.errors import StoreUnavailable
from server.templates.limits import MAX_SECONDS
from tests.kit.clock import FakeClock
from tests.kit.http_client import PATIENCE

ADDRESS = "zoe.sommer@example.org"
NEVER_OPENS = SendingPolicy(breaker_failures=0)
SETTINGS = DispatchSettings(poll_interval=0.05, lease=30.0, shutdown_grace=5.0)
SLOW_POLL = DispatchSettings(poll_interval=60.0, lease=120.0)


def make_trigger(address: str = ADDRESS, campaign_id: int = 44, **fields: str) -> Trigger:
    fresh = Trigger(uuid.uuid4(), 1, campaign_id, Channel.EMAIL, "user-1", address)
    return msgspec.structs.replace(fresh, **fields)


def make_campaign(**fields: object) -> Campaign:
    fresh = Campaign(
        project_id=1,
        id=44,
        name="Orders",
        channel=Channel.EMAIL,
        providers=("mail",),
        sender="Shop <shop@example.com>",
        templates={"default": Template(subject="Hello", text="Order {{ event.id }}")},
        retry=RetryPolicy(max_attempts=3, first_delay=0.001, max_delay=0.01),
    )
    return replace(fresh, **fields)  # type: ignore[arg-type]


def make_claim(trigger: Trigger | None = None, attempt: int = 1, provider: str = "mail") -> Claim:
    now = dt.datetime.now(dt.UTC)
    return Claim(trigger or make_trigger(), attempt, provider, now, lane=f"email/{provider}")


@dataclass
class Row:
    trigger: Trigger
    lane: str
    expires_at: dt.datetime | None = None
    suppressed: str = ""
    attempt: int = 0
    due: float = 0.0


class MemoryQueue:
    """Implements `Queue` in memory: leases end, attempts are counted, and announcements are not lost.

    Its clock is that of the dispatcher that `running` starts. It moves only in `until…` methods, as far as
    needed, and where a test moves it.
    """

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.rows: dict[uuid.UUID, Row] = {}
        self.attempts: list[Finished] = []
        self.dead: list[Finished] = []
        self.claims = 0
        self.finishes = 0
        self.renewals = 0
        self.renewals_fail = False
        self.released: list[Claim] = []
        self.finish_down = False
        self.down = False
        self.finish_failures = 0
        self._news = asyncio.Event()

    def add(self, *triggers: Trigger, provider: str = "mail", **row: Any) -> None:
        """Queue triggers; `provider` names one or several, as in `first,second`."""
        for trigger in triggers:
            self.rows[trigger.id] = Row(trigger, f"{trigger.channel}/{provider}", **row)
        self._news.set()

    async def lanes(self) -> set[str]:
        return {row.lane for row in self.rows.values()}

    async def bury_expired(self, error: str, after_doubt: str) -> int:
        return 0

    async def claim(self, shares: Sequence[ClaimRequest], lease: float) -> list[Claim]:
        self.claims += 1
        await asyncio.sleep(0)
        self._reach(down=self.down)
        left = {share.lane: share.slots for share in shares}
        through = {share.lane: share.provider for share in shares}
        now, claimed = self.clock.now, []
        for row in self.rows.values():
            if row.due <= now and left.get(row.lane, 0) > 0:
                left[row.lane] -= 1
                row.attempt, row.due = row.attempt + 1, now + lease
                claim = make_claim(row.trigger, row.attempt, through[row.lane])
                claim = msgspec.structs.replace(
                    claim, lane=row.lane, expires_at=row.expires_at, suppressed=row.suppressed
                )
                claimed.append(claim)
        return claimed

    async def finish(self, finished: Sequence[Finished]) -> None:
        self.finishes += 1
        await asyncio.sleep(0)
        if self.finish_down:
            self.finish_failures += 1
        self._reach(down=self.down or self.finish_down)
        for done in finished:
            self.attempts.append(done)
            self._settle(done)

    def _settle(self, done: Finished) -> None:
        row = self.rows.get(done.claim.trigger.id)
        if row is None:
            return
        if done.retry_in is not None:
            row.due = self.clock.now + done.retry_in
            return
        del self.rows[row.trigger.id]
        if done.attempt.outcome in {AttemptOutcome.DEAD, AttemptOutcome.IN_DOUBT}:
            self.dead.append(done)

    async def renew(self, claims: Sequence[Claim], lease: float) -> set[uuid.UUID]:
        self._reach(down=self.down or self.renewals_fail)
        held = {claim.id for claim in claims if claim.id in self.rows}
        for claim_id in held:
            self.rows[claim_id].due = self.clock.now + lease
        self.renewals += len(held)
        return held

    async def release(self, released: Sequence[Released]) -> None:
        self._reach(down=self.down)
        for item in released:
            row = self.rows[item.claim.trigger.id]
            row.attempt, row.due = row.attempt - 1, self.clock.now + item.wait if item.wait else 0.0
            self.released.append(item.claim)

    async def wait(self, timeout: float) -> None:  # noqa: ASYNC109 - the Protocol's
        with contextlib.suppress(TimeoutError):
            async with self.clock.timeout(timeout):
                await self._news.wait()
        self._news.clear()

    async def until_attempts(self, count: int) -> None:
        """Move the clock until this many attempts are recorded."""
        await self.clock.run_until(lambda: len(self.attempts) >= count)

    async def until_finish_failed(self) -> None:
        """Move the clock until recording failed."""
        await self.clock.run_until(lambda: self.finish_failures > 0)

    async def until_released(self, count: int = 1) -> None:
        """Move the clock until this many claims were released."""
        await self.clock.run_until(lambda: len(self.released) >= count)

    def _reach(self, *, down: bool) -> None:
        if down:
            raise StoreUnavailable


class MemoryCampaigns:
    """Implements `Campaigns`."""

    zone = zoneinfo.ZoneInfo("Europe/Berlin")

    def __init__(self, *campaigns: Campaign) -> None:
        self.all = {(campaign.project_id, campaign.id): campaign for campaign in campaigns}
        self.down = False

    async def campaign(self, project_id: int, campaign_id: int) -> Campaign | None:
        if self.down:
            raise StoreUnavailable
        return self.all.get((project_id, campaign_id))

    async def current_campaign(self, project_id: int, campaign_id: int) -> Campaign | None:
        return await self.campaign(project_id, campaign_id)

    def timezone(self, project_id: int) -> str:
        return self.zone.key

    def lanes(self) -> set[str]:
        return {campaign.lane for campaign in self.all.values()}


def campaigns_through(*providers: str) -> MemoryCampaigns:
    """Return campaigns 44, 45 and so on, each with these providers, as in `first,second`."""
    all_names = [tuple(names.split(",")) for names in providers]
    return MemoryCampaigns(*(make_campaign(id=44 + i, providers=names) for i, names in enumerate(all_names)))


class ScriptedProvider:
    """Implements `Provider`: raises the errors of its script one by one, then accepts everything."""

    channels = frozenset({Channel.EMAIL})

    def __init__(
        self,
        name: str = "mail",
        *script: Exception,
        concurrency: int = 4,
        timeout: float = PATIENCE,
        policy: SendingPolicy = NEVER_OPENS,
    ) -> None:
        self.name = name
        self.concurrency = concurrency
        self.timeout = timeout
        self.policy = policy
        self.script = list(script)
        self.sent: list[Message] = []
        self.most = 0
        self._under_way = 0
        self.open = asyncio.Event()
        self.open.set()
        self.reached = asyncio.Event()

    async def send(self, message: Message) -> str:
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
        return f"id-{len(self.sent)}"

    async def aclose(self) -> None:
        """Nothing to close."""


@contextlib.asynccontextmanager
async def running(
    queue: Queue,
    *providers: Provider,
    settings: DispatchSettings = SETTINGS,
    campaigns: MemoryCampaigns | None = None,
    ahead: int = 0,
    on_room: Callable[[Collection[str]], None] = lambda _: None,
) -> AsyncIterator[Dispatcher]:
    """Run a dispatcher for the block; with a `MemoryQueue`, by that queue's clock."""
    clock: Clock = queue.clock if isinstance(queue, MemoryQueue) else SYSTEM_CLOCK
    by_name = {provider.name: provider for provider in providers}
    known = campaigns or MemoryCampaigns(make_campaign())
    router = ProviderRouter(by_name, clock, ahead=ahead)
    # Never in a thread: the fake clock does not wait for threads, and would move on without the message.
    sender = TriggerSender(known, by_name, clock, FairRenderer(loop_seconds=MAX_SECONDS))
    dispatcher = Dispatcher(queue, known, sender, router, settings, clock=clock, on_room=on_room)
    task = asyncio.create_task(dispatcher.run())
    try:
        yield dispatcher
    finally:
        dispatcher.stop()
        if isinstance(clock, FakeClock):
            await clock.run_until(task.done, within=60)
        await asyncio.wait_for(task, 60)


def outcomes(queue: MemoryQueue) -> list[AttemptOutcome]:
    return [done.attempt.outcome for done in queue.attempts]


def sent_ids(provider: ScriptedProvider) -> list[uuid.UUID]:
    return [message.trigger_id for message in provider.sent]
