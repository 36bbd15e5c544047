"""What the dispatcher needs: a queue with leases, the lanes in use, and a sender that knows its messages."""

from __future__ import annotations

import datetime as dt
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, Self

from ..domain.campaign import Campaign, RetryPolicy
from ..domain.delivery import ClaimRequest, ClaimT, Finished, HttpReply, Released
from ..errors import DeliveryError, Verdict

__all__ = ["AttemptResult", "Campaigns", "Lanes", "Queue", "SendPlan", "SendResult", "Sender"]


class Queue(Protocol[ClaimT]):
    """Due triggers or webhook messages, claimed under leases. Every method may raise `StoreUnavailable`."""

    async def claim(self, shares: Sequence[ClaimRequest], lease: float) -> list[ClaimT]:
        """Claim what is due and increment the attempt number of each claim.

        Args:
            shares: For each lane the provider to send through and the maximum number of claims.
            lease: Seconds for which no other dispatcher can claim them.
        """
        ...

    async def lanes(self) -> set[str]:
        """Return the lanes that have queued work."""
        ...

    async def bury_expired(self, error: str) -> int:
        """Turn some of what expired in the queue into dead letters; return how many."""
        ...

    async def finish(self, finished: Sequence[Finished[ClaimT]]) -> None:
        """Record attempts and complete, reschedule or bury their triggers in one durable commit.

        After `StoreUnavailable` the caller repeats the same list, even if that commit succeeded. An attempt
        is identified by its trigger's ID and its number.
        """
        ...

    async def hand_back(self, returned: Sequence[Released[ClaimT]]) -> None:
        """Release claims: they are due again after their wait, and no attempt is counted."""
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

    def timezone(self, project_id: int) -> str:
        """Return the IANA time zone of users whose own time zone is unknown."""
        ...


@dataclass(frozen=True, slots=True)
class SendResult:
    """What came of sending a message: the verdict and the provider's words."""

    verdict: Verdict
    words: str = ""
    """Why the message was not sent."""
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
        """Return the result that an error stands for."""
        return cls(error.verdict, str(error), error.retry_after, error.reached_provider)


@dataclass(frozen=True, slots=True)
class SendPlan:
    """How one claim is sent: what its sender decided before the attempt."""

    send: Callable[[], Awaitable[SendResult]]
    """Sends the message once. May raise `DeliveryError`."""
    policy: RetryPolicy
    expires_at: dt.datetime | None = None
    spare_attempts: int = 0
    """Attempts beyond the policy's that may fail because the provider is down."""
    suppressed: str = ""
    """Why the recipient must not be sent anything, if so."""
    wait: float = 0.0
    """Seconds until the message may be sent; above 0 the claim is released for so long."""
    address: str = ""
    """The recipient's address, which is removed from error texts."""


@dataclass(frozen=True, slots=True)
class AttemptResult(Generic[ClaimT]):
    """What to record for a claim, and the result of the send if there was one."""

    outcome: Finished[ClaimT] | Released[ClaimT]
    result: SendResult | None = None


class Sender(Protocol[ClaimT]):
    """Knows how one kind of message is sent and reported. `AttemptRunner` does what all kinds share."""

    async def plan(self, claim: ClaimT, now: dt.datetime) -> SendPlan | Released[ClaimT]:
        """Decide how to send a claim, or release it. May raise `StoreUnavailable`."""
        ...

    def report(self, finished: Finished[ClaimT]) -> None:
        """Log and count a finished attempt."""
        ...

    def expired(self, count: int) -> None:
        """Count what expired in the queue, without an attempt."""
        ...
