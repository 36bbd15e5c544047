"""What the benchmark of validation uses instead of a database and a connection."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterable, Sequence

from server.domain.campaign import Campaign, Channel
from server.domain.idempotency import IdempotencyKey
from server.domain.key import ApiKey, Scope
from server.domain.limit import NO_OWN_LIMIT, OwnLimit
from server.domain.placement import Placement, ValidTrigger
from server.domain.trigger import Trigger

__all__ = ["CAMPAIGNS", "IDS", "KEY", "Catalog", "Context", "Details", "Writer"]

CAMPAIGNS = {
    number: Campaign(1, number, str(channel), channel, ("sandbox",))
    for number, channel in enumerate(Channel, start=44)
}
IDS = {campaign.channel: number for number, campaign in CAMPAIGNS.items()}
KEY = ApiKey(uuid.uuid4(), 1, "key", frozenset(Scope), dt.datetime.now(dt.UTC))


class Catalog:
    """A campaign for each channel, and one key."""

    def key_of_certificate(self, identities: Iterable[str]) -> ApiKey | None:
        """Fail: no call of the benchmarks has a certificate."""
        raise NotImplementedError

    def key(self, secret_hash: bytes) -> ApiKey | None:
        """Return the key, whatever the secret."""
        return KEY

    def campaign(self, project_id: int, campaign_id: int) -> Campaign | None:
        """Return the campaign with this ID."""
        return CAMPAIGNS.get(campaign_id)

    def project_limit(self, project_id: int) -> OwnLimit:
        """Return that the project has no separate limit."""
        return NO_OWN_LIMIT

    def project_timezone(self, project_id: int) -> str:
        """Return UTC."""
        return "UTC"


class Writer:
    """Commits nothing."""

    async def add(self, trigger: Trigger, place: Placement, key: IdempotencyKey | None = None) -> uuid.UUID:
        """Return the ID without a commit."""
        return trigger.id

    async def add_all(self, entries: Sequence[ValidTrigger]) -> Sequence[uuid.UUID]:
        """Return the IDs without a commit."""
        return [entry.trigger.id for entry in entries]

    async def earlier(self, asked: Sequence[tuple[Trigger, IdempotencyKey]]) -> Sequence[None]:
        """Return that no trigger was accepted before."""
        return [None] * len(asked)


class Context:
    """The parts of gRPC's context that the guard uses."""

    def time_remaining(self) -> float | None:
        """Return that the caller set no deadline."""
        return None


class Details:
    """A call as gRPC passes it to the look-up of the handler."""

    def __init__(self, method: str, metadata: tuple[tuple[str, str], ...]) -> None:
        self.method = method
        self.invocation_metadata = metadata
