"""One attempt: a claim becomes a message, the message goes to a provider, and all is logged."""

from __future__ import annotations

import asyncio
import datetime as dt
import random
import time
import uuid
from collections.abc import Mapping

import structlog
from msgspec import structs

from ..channels.base import Message
from ..domain.campaign import Campaign, RetryPolicy, providers_of
from ..domain.delivery import AttemptOutcome, Claim, Finished, Released
from ..domain.trace import trace_id
from ..domain.trigger import Trigger
from ..domain.window import next_opening, zone_of
from ..errors import DeliveryError, ProviderError, Verdict
from ..templates.render import Renderer
from . import metrics
from .ports import AttemptResult, Campaigns, SendResult
from .providers.base import Provider
from .redact import safe_traceback
from .retry import conclude, lost, not_sent

__all__ = ["TriggerSender"]

_DEFAULT_POLICY = RetryPolicy()


class TriggerSender:
    """Makes the attempts of triggers."""

    def __init__(self, campaigns: Campaigns, providers: Mapping[str, Provider]) -> None:
        self._campaigns = campaigns
        self._providers = providers
        self._renderer = Renderer()
        self._log = structlog.get_logger("clarion.dispatch").bind()
        self._cut_off: dict[uuid.UUID, Finished] = {}
        self._jitter = random.SystemRandom().random

    async def attempt(self, claim: Claim) -> AttemptResult:
        """Make one attempt, log it in one line, and return what to record.

        Raises:
            StoreUnavailable: The campaign could not be read; nothing was sent.
        """
        trigger = claim.trigger
        started_at, start = dt.datetime.now(dt.UTC), time.perf_counter()
        campaign = await self._campaigns.campaign(trigger.project_id, trigger.campaign_id)
        policy = self._policy(claim, campaign)
        generous = self._with_spare(claim, policy)
        if unsent := not_sent(claim, generous, started_at):
            self._report(unsent)
            return AttemptResult(unsent)
        if wait := self._wait_for_window(trigger, campaign, started_at):
            return AttemptResult(Released(claim, wait))
        try:
            result = await self._deliver(claim, campaign)
        except asyncio.CancelledError:
            self._cut_off[trigger.id] = lost(claim, started_at, time.perf_counter() - start)
            raise
        finished = conclude(
            claim,
            result,
            generous if result.verdict is Verdict.PROVIDER_DOWN else policy,
            jitter=self._jitter(),
            started_at=started_at,
            duration=time.perf_counter() - start,
        )
        self._report(finished)
        return AttemptResult(finished, result)

    def _policy(self, claim: Claim, campaign: Campaign | None) -> RetryPolicy:
        """Return the campaign's policy, or that of its first provider, whichever of them sends."""
        first = self._providers.get(providers_of(claim.lane)[0]) or self._providers.get(claim.provider)
        of_provider = first.policy.retry if first else None
        return (campaign.retry if campaign else None) or of_provider or _DEFAULT_POLICY

    def _with_spare(self, claim: Claim, policy: RetryPolicy) -> RetryPolicy:
        """Return the policy with the attempts that it may take until traffic moves to the next provider.

        A provider's own failures open its breaker. Without these, a message could use up its attempts
        on the way there, while the next provider works.
        """
        names = providers_of(claim.lane)
        if len(names) == 1:
            return policy
        known = [self._providers[name].policy for name in names if name in self._providers]
        spare = sum(one.breaker_failures for one in known)
        return structs.replace(policy, max_attempts=policy.max_attempts + spare)

    def _wait_for_window(self, trigger: Trigger, campaign: Campaign | None, now: dt.datetime) -> float:
        """Return the seconds until the user may be reached; 0 if that is now."""
        if campaign is None or campaign.window is None:
            return 0.0
        zone = zone_of(trigger.timezone, self._campaigns.timezone(trigger.project_id))
        return (next_opening(campaign.window, now, zone) - now).total_seconds()

    def cut_off(self, claim: Claim) -> Finished | None:
        """Return what to record of an attempt that was cancelled; None if it had not begun."""
        finished = self._cut_off.pop(claim.trigger.id, None)
        if finished:
            self._report(finished)
        return finished

    def expired(self, count: int) -> None:
        """Count what expired while it waited."""
        metrics.buried(count)

    async def _deliver(self, claim: Claim, campaign: Campaign | None) -> SendResult:
        """Render and send; any error becomes a result."""
        reached_provider = False
        try:
            if campaign is None:
                raise ProviderError(
                    Verdict.NEVER,
                    f"campaign {claim.trigger.campaign_id} no longer exists",
                    reached_provider=False,
                )
            provider = self._provider(claim)
            fallback = self._campaigns.timezone(campaign.project_id)
            message = self._renderer.render(campaign, claim.trigger, timezone_fallback=fallback)
            reached_provider = True
            return SendResult(Verdict.SENT, message_id=await _send(provider, message))
        except DeliveryError as error:
            return SendResult.of(error)
        except Exception as error:
            self._log.error(
                "provider_fault", trigger_id=str(claim.trigger.id), exception=safe_traceback(error)
            )
            place = f"in provider {claim.provider}" if reached_provider else "in rendering"
            words = f"unexpected {type(error).__name__} {place}"
            return SendResult(Verdict.PROVIDER_DOWN, words, reached_provider=reached_provider)

    def _provider(self, claim: Claim) -> Provider:
        provider = self._providers.get(claim.provider)
        if provider is None:
            raise ProviderError(
                Verdict.PROVIDER_DOWN,
                f"no provider {claim.provider} is configured here",
                reached_provider=False,
            )
        if claim.trigger.channel not in provider.channels:
            raise ProviderError(
                Verdict.NEVER,
                f"provider {claim.provider} does not deliver by {claim.trigger.channel}",
                reached_provider=False,
            )
        return provider

    def _report(self, finished: Finished) -> None:
        """Write the attempt's log line: ids and facts, no recipient and no content."""
        trigger, attempt = finished.claim.trigger, finished.attempt
        metrics.attempted(trigger.channel, attempt)
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


async def _send(provider: Provider, message: Message) -> str:
    try:
        async with asyncio.timeout(provider.timeout):
            return await provider.send(message)
    except TimeoutError:
        raise ProviderError(
            Verdict.PROVIDER_DOWN, f"no answer from {provider.name} within {provider.timeout:g} s"
        ) from None
