"""Sends triggers: renders the campaign's template and passes the message to a provider."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import replace

import structlog
from opentelemetry.trace import SpanKind

from ..channels.base import Message
from ..domain.campaign import Campaign, RetryPolicy, providers_of
from ..domain.clock import SYSTEM_CLOCK, Clock
from ..domain.delivery import AttemptOutcome, Claim, Finished, Released
from ..domain.delivery_errors import DeliveryError, ProviderError, Verdict
from ..domain.trace import trace_id
from ..domain.trigger import Trigger
from ..domain.window import next_opening, zone_of
from ..tracing import AttemptSpan, child_span, context_of, is_recorded
from . import metrics
from .ports import Campaigns, DoubtPolicy, SendPlan, SendResult
from .providers.base import Provider
from .redact import WITHHELD, safe_traceback, withhold
from .rendering import RETRY_SECONDS, FairRenderer
from .retry import expires_at
from .suppression_guard import SuppressionGuards
from .test_recipients import TEST_RETRIES, answer

__all__ = ["TriggerSender"]

_DEFAULT_POLICY = RetryPolicy()


class TriggerSender:
    """Plans, sends and reports the attempts of triggers.

    Args:
        campaigns: The current campaigns.
        providers: The configured providers by name.
        clock: Cancels sends that exceed their provider's timeout.
        renderer: Renders the messages; if None, it has its own.
        count_campaigns: Whether to count attempts by campaign.
    """

    def __init__(
        self,
        campaigns: Campaigns,
        providers: Mapping[str, Provider],
        clock: Clock = SYSTEM_CLOCK,
        renderer: FairRenderer | None = None,
        *,
        count_campaigns: bool = False,
    ) -> None:
        self._campaigns = campaigns
        self._providers = providers
        self._clock = clock
        self._renderer = renderer or FairRenderer()
        self._count_campaigns = count_campaigns
        self._guards = SuppressionGuards(clock)
        self._log = structlog.get_logger("clarion.dispatch").bind()

    async def plan(self, claim: Claim, now: dt.datetime) -> SendPlan | Released:
        """Decide how to send a trigger, using the current revision of its campaign.

        If the campaign's providers were changed, release the trigger to the campaign's new lane. If too many
        slow messages of its project wait to be rendered, release it for a while. What an author tests is sent
        as it is, through the providers of its lane.

        Raises:
            StoreUnavailable: The campaign could not be read.
        """
        trigger = claim.trigger
        campaign = claim.content
        if campaign is None:
            campaign = await self._campaigns.campaign(trigger.project_id, trigger.campaign_id)
        wait = self._wait_for_window(trigger, campaign, now)
        if wait:  # perhaps for a window that was changed just before the trigger was accepted
            campaign = await self._campaigns.current_campaign(trigger.project_id, trigger.campaign_id)
            wait = self._wait_for_window(trigger, campaign, now)
        if campaign is not None and campaign.lane_for(test=trigger.test) != claim.lane and not claim.content:
            return Released(claim)
        if campaign is not None and self._renderer.is_behind(campaign):
            return Released(claim, RETRY_SECONDS)
        policy = self._policy(claim, campaign)
        return SendPlan(
            send=lambda: self._send(claim, campaign),
            policy=policy,
            expires_at=expires_at(claim, policy),
            spare_attempts=self._spare_attempts(claim),
            in_doubt=self._doubt_policy(claim),
            suppressed=claim.suppressed,
            wait=wait,
            address=trigger.address,
            campaign_version=campaign.revision if campaign and campaign.revision > 0 else None,
            span=_span(claim) if is_recorded(trigger.traceparent) else None,
        )

    def report(self, finished: Finished) -> None:
        """Log the attempt in one line, without the recipient or the content, and count it."""
        trigger, attempt = finished.claim.trigger, finished.attempt
        if not trigger.test:
            metrics.attempted(trigger, attempt, by_campaign=self._count_campaigns)
        log = self._log.info if attempt.outcome is AttemptOutcome.DELIVERED else self._log.warning
        log(
            "attempt",
            trigger_id=str(trigger.id),
            campaign_id=trigger.campaign_id,
            channel=trigger.channel,
            provider=attempt.provider,
            attempt=attempt.number,
            outcome=attempt.outcome,
            duration_ms=round(attempt.duration * 1000, 1),
            next_retry_in_s=None if finished.retry_in is None else round(finished.retry_in, 1),
            error=attempt.error,
            **({"test": True} if trigger.test else {}),
            **({"trace_id": trace_id(trigger.traceparent)} if trigger.traceparent else {}),
        )

    def suppression_paused(self) -> set[str]:
        """Return the names of the providers that refuse too many recipients for them to be suppressed."""
        return self._guards.paused()

    def expired(self, count: int) -> None:
        """Count triggers that expired in the queue."""
        metrics.expired(count)

    def _policy(self, claim: Claim, campaign: Campaign | None) -> RetryPolicy:
        """Return the campaign's retry policy, or that of its first provider.

        The first provider's policy applies even if another provider sends the message. If the first is not
        configured here, the policy of the provider that sends applies. Tests have their own policy.
        """
        if claim.trigger.test:
            return TEST_RETRIES
        first = self._providers.get(providers_of(claim.lane)[0]) or self._providers.get(claim.provider)
        of_provider = first.policy.retry if first else None
        return (campaign.retry if campaign else None) or of_provider or _DEFAULT_POLICY

    def _doubt_policy(self, claim: Claim) -> DoubtPolicy:
        provider = self._providers.get(claim.provider)
        if provider is None:
            return DoubtPolicy()
        return DoubtPolicy(provider.policy.in_doubt, provider.policy.in_doubt_hold)

    def _spare_attempts(self, claim: Claim) -> int:
        """Return the additional attempts for failures of the lane's providers; 0 if it has only one.

        It is the number of failures after which the breakers of all providers are open. Without them, a
        message could use up its attempts before a breaker opens and the next provider is used.
        """
        names = providers_of(claim.lane)
        if len(names) == 1:
            return 0
        return sum(self._providers[name].policy.breaker_failures for name in names if name in self._providers)

    def _wait_for_window(self, trigger: Trigger, campaign: Campaign | None, now: dt.datetime) -> float:
        """Return the seconds until the campaign's send window opens for this user; 0 if it is open."""
        if campaign is None or campaign.window is None:
            return 0.0
        zone = zone_of(trigger.timezone, self._campaigns.timezone(trigger.project_id))
        return (next_opening(campaign.window, now, zone) - now).total_seconds()

    async def _send(self, claim: Claim, campaign: Campaign | None) -> SendResult:
        """Render the trigger's message and send it.

        Raises:
            DeliveryError: The message was not sent.
        """
        if campaign is None:
            raise _rejected(f"campaign {claim.trigger.campaign_id} no longer exists")
        if claim.trigger.test:
            return await self._test(claim, campaign)
        provider = self._provider(claim)
        message = await self._render(claim, campaign)
        with child_span(f"send {provider.name}", {"clarion.provider": provider.name}) as span:
            if own := context_of(span):
                message = replace(message, traceparent=own)
            message_id = await self._pass_on(provider, message)
        self._guards.sent(provider)
        return SendResult(Verdict.SENT, message_id=message_id)

    async def _pass_on(self, provider: Provider, message: Message) -> str:
        """Pass a message to a provider and return the provider's ID for it.

        Raises:
            ProviderError: The provider did not accept it.
        """
        try:
            async with self._clock.timeout(provider.timeout):
                return await provider.send(message)
        except TimeoutError:
            text = f"no answer from {provider.name} within {provider.timeout:g} s"
            raise ProviderError(Verdict.PROVIDER_DOWN, text) from None
        except ProviderError as error:
            if message.retain:
                error.args = (withhold(str(error)),)
            raise self._guards.judge(provider, error) from None

    async def _test(self, claim: Claim, campaign: Campaign) -> SendResult:
        """Render the message of a test, and do what its recipient stands for. No provider is involved."""
        trigger = claim.trigger
        await self._render(claim, campaign)
        answer(trigger.channel, trigger.address, claim.tries)
        return SendResult(Verdict.SENT, message_id=f"test-{trigger.id}")

    def _provider(self, claim: Claim) -> Provider:
        provider = self._providers.get(claim.provider)
        if provider is None:
            text = f"no provider {claim.provider} is configured here"
            raise ProviderError(Verdict.PROVIDER_DOWN, text, reached_provider=False)
        if claim.trigger.channel not in provider.channels:
            raise _rejected(f"provider {claim.provider} does not support the channel {claim.trigger.channel}")
        return provider

    async def _render(self, claim: Claim, campaign: Campaign) -> Message:
        fallback = self._campaigns.timezone(campaign.project_id)
        try:
            message = await self._renderer.render(campaign, claim.trigger, timezone_fallback=fallback)
        except DeliveryError as error:
            if claim.trigger.retain:  # Liquid may quote a value
                error.args = (f"the template cannot be rendered; {WITHHELD}",)
            raise
        except Exception as error:
            trigger_id = str(claim.trigger.id)
            self._log.error("render_fault", trigger_id=trigger_id, exception=safe_traceback(error))
            text = f"unexpected {type(error).__name__} while rendering"
            raise ProviderError(Verdict.LATER, text, reached_provider=False) from None
        trigger = claim.trigger
        if trigger.traceparent or trigger.retain:
            return replace(message, traceparent=trigger.traceparent, retain=trigger.retain)
        return message


def _span(claim: Claim) -> AttemptSpan:
    """Return the span of an attempt.

    Its attributes are those of https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/.
    """
    trigger = claim.trigger
    attributes: dict[str, str | int | bool] = {
        "messaging.system": "clarion",
        "messaging.operation.type": "process",
        "messaging.operation.name": "attempt",
        "messaging.destination.name": claim.lane,
        "messaging.message.id": str(trigger.id),
        "clarion.campaign.id": trigger.campaign_id,
        "clarion.channel": trigger.channel.value,
        "clarion.provider": claim.provider,
        "clarion.attempt.number": claim.attempt,
    }
    return AttemptSpan("attempt", SpanKind.CONSUMER, trigger.traceparent, attributes)


def _rejected(text: str) -> ProviderError:
    """Return the error for a message that no provider can deliver."""
    return ProviderError(Verdict.NEVER, text, reached_provider=False)
