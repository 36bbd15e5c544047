"""What the worker needs: a queue with leases, the lanes in use, and somebody who makes attempts."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, Self

from ..domain.campaign import Campaign
from ..domain.delivery import ClaimRequest, ClaimT, Finished, Released
from ..errors import DeliveryError, Verdict

__all__ = ["AttemptResult", "Campaigns", "Lanes", "Queue", "SendResult", "Sender"]


class Queue(Protocol[ClaimT]):
    """What is due, held under leases: triggers, or messages. Every method may raise `StoreUnavailable`."""

    async def claim(self, shares: Sequence[ClaimRequest], lease: float) -> list[ClaimT]:
        """Take what is due under a lease and raise the attempt number of each by one.

        Args:
            shares: The lanes, each with the provider that sends and the number of triggers wanted at most.
            lease: Seconds for which nobody else gets them.
        """
        ...

    async def lanes(self) -> set[str]:
        """Return the lanes in which anything waits."""
        ...

    async def bury_expired(self, error: str) -> int:
        """Make dead letters of what has expired while it waited; return how many."""
        ...

    async def finish(self, finished: Sequence[Finished[ClaimT]]) -> None:
        """Record attempts, and end, reschedule or bury their triggers, in one durable commit.

        After a `StoreUnavailable` the same list comes again, even if that commit had
        succeeded: an attempt is known by its trigger's id and its number.
        """
        ...

    async def hand_back(self, returned: Sequence[Released[ClaimT]]) -> None:
        """Give claims back: due after their wait, and no attempt counted."""
        ...

    async def wait(self, timeout: float) -> None:  # noqa: ASYNC109 - its end is no error
        """Return once new work was announced, or after `timeout` seconds."""
        ...


class Lanes(Protocol):
    """Where there can be work."""

    def lanes(self) -> Collection[str]:
        """Return the lanes in use."""
        ...


class Campaigns(Lanes, Protocol):
    """The campaigns as they are now, at most one second old."""

    async def campaign(self, project_id: int, campaign_id: int) -> Campaign | None:
        """Return the campaign's current revision, or None. May raise `StoreUnavailable`."""
        ...

    def timezone(self, project_id: int) -> str:
        """Return the IANA time zone of users whose own is not known."""
        ...


@dataclass(frozen=True, slots=True)
class SendResult:
    """What came of sending a message: the provider's verdict and its words."""

    verdict: Verdict
    words: str = ""
    """Why the message was not sent."""
    retry_after: float | None = None
    """Seconds that the provider asked to wait."""
    reached_provider: bool = True
    """False if Clarion rejected the message itself: the result is no evidence about the provider."""
    message_id: str = ""
    """The provider's ID for a message that was sent."""

    @classmethod
    def of(cls, error: DeliveryError) -> Self:
        """Return the result that an error stands for."""
        return cls(error.verdict, str(error), error.retry_after, error.reached_provider)


@dataclass(frozen=True, slots=True)
class AttemptResult(Generic[ClaimT]):
    """What to record of a claim, and the result if something was sent."""

    outcome: Finished[ClaimT] | Released[ClaimT]
    result: SendResult | None = None


class Sender(Protocol[ClaimT]):
    """Makes attempts, and reports them. Knows nothing of queues, leases or slots."""

    async def attempt(self, claim: ClaimT) -> AttemptResult[ClaimT]:
        """Make one attempt and return what to record. May raise `StoreUnavailable`: nothing was sent."""
        ...

    def cut_off(self, claim: ClaimT) -> Finished[ClaimT] | None:
        """Return what to record of an attempt that was cancelled; None if it had not begun."""
        ...

    def expired(self, count: int) -> None:
        """Hear how many expired while they waited: no attempt tells of them."""
        ...
