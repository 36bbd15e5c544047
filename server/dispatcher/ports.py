"""Defines the dispatcher's interfaces: the queue with leases, the lanes in use, a sender per message kind."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Generic, Literal, Protocol, Self

import msgspec

from ..domain.campaign import Campaign, RetryPolicy
from ..domain.delivery import ClaimRequest, ClaimT, Finished, HttpReply, Released
from ..domain.delivery_errors import DeliveryError, Verdict
from ..tracing import AttemptSpan

__all__ = ["AttemptResult", "Campaigns", "DoubtPolicy", "Lanes", "Queue", "SendPlan", "SendResult", "Sender"]


class Queue(Protocol[ClaimT]):
    """Due triggers or webhook messages, claimed under leases. Every method may raise `StoreUnavailable`."""

    async def claim(self, shares: Sequence[ClaimRequest], lease: float) -> list[ClaimT]:
        """Claim due messages, and increment the attempt number of each.

        Args:
            shares: For each lane, the provider to send through and the maximum number of claims.
            lease: Seconds for which no other dispatcher can claim the same messages.
        """
        ...

    async def lanes(self) -> set[str]:
        """Return the lanes that have queued messages."""
        ...

    async def bury_expired(self, error: str, after_doubt: str) -> int:
        """Turn a batch of messages that expired in the queue into dead letters; return how many.

        Args:
            error: The error to record.
            after_doubt: The error to record for messages of which an earlier attempt may have succeeded.
        """
        ...

    async def finish(self, finished: Sequence[Finished[ClaimT]]) -> None:
        """Record attempts in one durable commit.

        Each message leaves the queue, becomes due again later, or becomes a dead letter. After
        `StoreUnavailable` the caller repeats the call with the same attempts, even if the commit succeeded;
        each attempt is recorded once, by its message's ID and its number.
        """
        ...

    async def renew(self, claims: Sequence[ClaimT], lease: float) -> Collection[uuid.UUID]:
        """Extend the leases of claims to this many seconds from now.

        Returns:
            The IDs of the claims that are still held.
        """
        ...

    async def release(self, released: Sequence[Released[ClaimT]]) -> None:
        """Release claims without counting an attempt. Each message is due again after its wait.

        A trigger goes to the lane that its campaign has now.
        """
        ...

    async def wait(self, timeout: float) -> None:  # noqa: ASYNC109 - reaching it is not an error
        """Return when new work is announced, or after `timeout` seconds."""
        ...


class Lanes(Protocol):
    """A source of lanes."""

    def lanes(self) -> Collection[str]:
        """Return the lanes in use."""
        ...


class Campaigns(Lanes, Protocol):
    """The current campaigns, at most one second out of date."""

    async def campaign(self, project_id: int, campaign_id: int) -> Campaign | None:
        """Return the campaign's current revision, or None if it was deleted. May raise `StoreUnavailable`."""
        ...

    async def current_campaign(self, project_id: int, campaign_id: int) -> Campaign | None:
        """Return the same, but not out of date; the project's time zone is then current, too."""
        ...

    def timezone(self, project_id: int) -> str:
        """Return the IANA time zone of users whose own time zone is unknown."""
        ...


class SendResult(msgspec.Struct, frozen=True):
    """The result of sending a message: the verdict and, if it was not sent, the reason."""

    verdict: Verdict
    error: str = ""
    """The error text if the message was not sent, usually the provider's."""
    retry_after: float | None = None
    """Seconds that the provider asked to wait."""
    reached_provider: bool = True
    """False if Clarion rejected the message itself, so that the result says nothing about the provider."""
    message_id: str = ""
    """The provider's ID for a message that was sent."""
    reply: HttpReply | None = None
    """The HTTP reply to a webhook message."""

    @classmethod
    def of(cls, error: DeliveryError) -> Self:
        """Return an error as a result."""
        return cls(error.verdict, str(error), error.retry_after, error.reached_provider)


class DoubtPolicy(msgspec.Struct, frozen=True):
    """What to do when a message may have arrived: see `SendingPolicy.in_doubt`."""

    action: Literal["repeat", "hold", "give_up"] = "repeat"
    hold: float = 0.0
    """Seconds before a held message is repeated."""


class SendPlan(msgspec.Struct, frozen=True):
    """How to send one claim, decided by its sender before the attempt."""

    send: Callable[[], Awaitable[SendResult]]
    """Sends the message once. May raise `DeliveryError`."""
    policy: RetryPolicy
    expires_at: dt.datetime | None = None
    spare_attempts: int = 0
    """Additional attempts, used only for failures of the provider."""
    in_doubt: DoubtPolicy = DoubtPolicy()
    """What to do if the message may have arrived."""
    suppressed: str = ""
    """If the recipient is suppressed, the error with which a provider refused it."""
    wait: float = 0.0
    """Seconds until the message may be sent. If it is above 0, the claim is released for that time."""
    address: str = ""
    """The recipient's address, which is removed from error texts."""
    campaign_version: int | None = None
    """The version of the campaign that the message is rendered with."""
    span: AttemptSpan | None = None
    """The span of the attempt; None if it is not recorded."""


class AttemptResult(msgspec.Struct, Generic[ClaimT], frozen=True):
    """What to record for a claim, and the result of the send if there was one."""

    outcome: Finished[ClaimT] | Released[ClaimT]
    result: SendResult | None = None


class Sender(Protocol[ClaimT]):
    """Plans, sends and reports one kind of message. `AttemptRunner` does what all kinds have in common."""

    async def plan(self, claim: ClaimT, now: dt.datetime) -> SendPlan | Released[ClaimT]:
        """Decide how to send a claim, or release it. May raise `StoreUnavailable`."""
        ...

    def report(self, finished: Finished[ClaimT]) -> None:
        """Log and count a finished attempt."""
        ...

    def expired(self, count: int) -> None:
        """Count messages that expired in the queue. They have no attempt to report."""
        ...
