"""One attempt: a claim becomes a message, the message goes to a provider, and all is logged."""

from __future__ import annotations

import asyncio
import datetime as dt
import random
import time
from collections.abc import Mapping

import structlog

from ..domain.campaign import Campaign, RetryPolicy
from ..domain.delivery import AttemptOutcome, Claim, Finished
from ..domain.trace import trace_id
from ..errors import DeliveryError, Permanent, Transient
from .message import Message
from .providers.base import Provider, Receipt
from .queue import Campaigns
from .rendering import Renderer
from .retry import conclude
from .scrub import place_of

__all__ = ["Deliverer"]

_DEFAULT_POLICY = RetryPolicy()


class Deliverer:
    """Makes attempts. Knows nothing of queues, leases or slots."""

    def __init__(self, campaigns: Campaigns, providers: Mapping[str, Provider]) -> None:
        self._campaigns = campaigns
        self._providers = providers
        self._renderer = Renderer()
        self._log = structlog.get_logger("clarion.dispatch").bind()
        self._jitter = random.SystemRandom().random

    async def attempt(self, claim: Claim) -> Finished:
        """Make one attempt, log it in one line, and return what to record.

        Raises:
            StoreUnavailable: The campaign could not be read; nothing was sent.
        """
        trigger = claim.trigger
        started_at, start = dt.datetime.now(dt.UTC), time.perf_counter()
        campaign = await self._campaigns.campaign(trigger.project_id, trigger.campaign_id)
        result = await self._deliver(claim, campaign)
        finished = conclude(
            claim,
            result,
            campaign.retry if campaign else _DEFAULT_POLICY,
            jitter=self._jitter(),
            started_at=started_at,
            duration=time.perf_counter() - start,
        )
        self._report(finished)
        return finished

    async def _deliver(self, claim: Claim, campaign: Campaign | None) -> Receipt | DeliveryError:
        """Render and send; turn whatever goes wrong into a delivery error."""
        try:
            if campaign is None:
                raise Permanent(f"campaign {claim.trigger.campaign_id} does not exist any more")
            return await self._send(claim, self._renderer.render(campaign, claim.trigger))
        except DeliveryError as error:
            return error
        except Exception as error:
            self._log.error("provider_fault", trigger_id=str(claim.trigger.id), exception=place_of(error))
            return Transient(f"unexpected {type(error).__name__} in provider {claim.provider}")

    async def _send(self, claim: Claim, message: Message) -> Receipt:
        provider = self._provider(claim)
        try:
            async with asyncio.timeout(provider.timeout):
                return await provider.send(message)
        except TimeoutError:
            raise Transient(f"no answer from {claim.provider} within {provider.timeout:g} s") from None

    def _provider(self, claim: Claim) -> Provider:
        provider = self._providers.get(claim.provider)
        if provider is None:
            raise Transient(f"no provider {claim.provider} is configured here")
        if claim.trigger.channel not in provider.channels:
            raise Permanent(f"provider {claim.provider} does not deliver by {claim.trigger.channel}")
        return provider

    def _report(self, finished: Finished) -> None:
        """Write the attempt's log line: ids and facts, no recipient and no content."""
        trigger, attempt = finished.claim.trigger, finished.attempt
        log = self._log.info if attempt.outcome is AttemptOutcome.DELIVERED else self._log.warning
        log(
            "attempt",
            trigger_id=str(trigger.id),
            campaign_id=trigger.campaign_id,
            channel=trigger.channel.value,
            provider=attempt.provider,
            attempt=attempt.number,
            outcome=attempt.outcome.value,
            duration_ms=round(attempt.duration * 1000, 1),
            next_retry_in_s=None if finished.retry_in is None else round(finished.retry_in, 1),
            error=attempt.error,
            **({"trace_id": trace_id(trigger.traceparent)} if trigger.traceparent else {}),
        )
