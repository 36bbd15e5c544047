"""One attempt of a message to an endpoint: signed, posted, judged, and logged in one line."""

from __future__ import annotations

import asyncio
import datetime as dt
import http
import random
import re
import time
import uuid

import structlog

from ...domain.delivery import Attempt, AttemptOutcome, Finished, Released
from ...domain.webhook import POLICY, Posted, Target, WebhookClaim
from ...errors import DeliveryError, Verdict
from .. import metrics
from ..ports import AttemptResult, SendResult
from ..redact import safe_traceback, scrub
from ..retry import CUT_OFF, EXPIRED, USED_UP, decide
from .client import Poster, Reply
from .endpoints import Endpoints
from .signing import signed_headers

__all__ = ["WebhookSender"]

ANSWER_LENGTH = 200
"""Characters of an answer that the delivery log keeps."""
_SOON = 1.0
_PRIVATE = re.compile(r"[^\s@\"'<>]+@[^\s@\"'<>]+|\+?\d[\d ()-]{7,}\d|whsec_\S+|v1,\S+")
"""What looks like a recipient, a secret or a signature."""


class WebhookSender:
    """Makes the attempts of messages to endpoints."""

    def __init__(self, endpoints: Endpoints, poster: Poster) -> None:
        self._endpoints = endpoints
        self._poster = poster
        self._log = structlog.get_logger("clarion.webhooks").bind()
        self._cut_off: dict[uuid.UUID, Finished[WebhookClaim]] = {}
        self._jitter = random.SystemRandom().random

    async def attempt(self, claim: WebhookClaim) -> AttemptResult[WebhookClaim]:
        """Make one attempt, log it in one line, and return what to record."""
        target = self._endpoints.target(claim.provider)
        if target is None:  # disabled or deleted since
            return AttemptResult(Released(claim, _SOON))
        started_at, start = dt.datetime.now(dt.UTC), time.perf_counter()
        if unsent := _not_sent(claim, started_at):
            self._report(unsent)
            return AttemptResult(unsent)
        try:
            reply, result = await self._post(claim, target, started_at)
        except asyncio.CancelledError:
            self._cut_off[claim.id] = _lost(claim, started_at, time.perf_counter() - start)
            raise
        finished = self._concluded(claim, reply, result, started_at, time.perf_counter() - start)
        self._report(finished)
        return AttemptResult(finished, result)

    def cut_off(self, claim: WebhookClaim) -> Finished[WebhookClaim] | None:
        """Return what to record of an attempt that was cancelled; None if it had not begun."""
        finished = self._cut_off.pop(claim.id, None)
        if finished:
            self._report(finished)
        return finished

    def expired(self, count: int) -> None:
        """Count what expired while it waited."""
        metrics.webhooks_expired(count)

    async def _post(
        self, claim: WebhookClaim, target: Target, now: dt.datetime
    ) -> tuple[Reply | None, SendResult]:
        """Sign and post; turn whatever comes of it into a yes or a delivery error."""
        body = claim.body.encode()
        try:
            headers = signed_headers(claim.id, int(now.timestamp()), body, target.secrets.at(now))
            reply = await self._poster.post(target.url, headers, body)
        except DeliveryError as error:
            return None, SendResult.of(error)
        except Exception as error:
            self._log.error("webhook_fault", message_id=str(claim.id), exception=safe_traceback(error))
            return None, SendResult(Verdict.PROVIDER_DOWN, f"unexpected {type(error).__name__}")
        return reply, _judged(reply)

    def _concluded(
        self,
        claim: WebhookClaim,
        reply: Reply | None,
        result: SendResult,
        started_at: dt.datetime,
        duration: float,
    ) -> Finished[WebhookClaim]:
        """Say what to record: done, another try and when, or given up."""
        error, delay, outcome = "", None, AttemptOutcome.DELIVERED
        if result.verdict is not Verdict.SENT:
            error = scrub(result.words, "")
            delay = decide(result, claim.tries, POLICY, self._jitter(), _time_left(claim, started_at))
            outcome = AttemptOutcome.DEAD if delay is None else AttemptOutcome.RETRY
        attempt = Attempt(claim.attempt, claim.provider, outcome, started_at, duration, error=error)
        if reply is None:
            return Finished(claim, attempt, delay)
        return Posted(claim, attempt, delay, status=reply.status, answer=_shown(reply.body))

    def _report(self, finished: Finished[WebhookClaim]) -> None:
        """Write the attempt's log line: ids and facts, no URL and no word of the answer's."""
        claim, attempt = finished.claim, finished.attempt
        status = finished.status if isinstance(finished, Posted) else None
        metrics.webhook_attempted(attempt)
        log = self._log.info if attempt.outcome is AttemptOutcome.DELIVERED else self._log.warning
        log(
            "webhook_attempt",
            webhook_id=claim.provider,
            message_id=str(claim.id),
            type=claim.type,
            attempt=attempt.number,
            outcome=attempt.outcome.value,
            status=status,
            duration_ms=round(attempt.duration * 1000, 1),
            next_retry_in_s=None if finished.retry_in is None else round(finished.retry_in, 1),
            error=attempt.error,
        )
        if status == http.HTTPStatus.GONE:
            self._log.warning("webhook_disabled", webhook_id=claim.provider, reason="it answered 410 Gone")


def _judged(reply: Reply) -> SendResult:
    """Return what an answer means. Whatever is no yes may be one later, while receivers deploy."""
    status = http.HTTPStatus
    if status.OK <= reply.status < status.MULTIPLE_CHOICES:
        return SendResult(Verdict.SENT)
    if reply.status == status.GONE:
        return SendResult(Verdict.NEVER, "HTTP 410: the endpoint is gone, so it is disabled")
    if status.MULTIPLE_CHOICES <= reply.status < status.BAD_REQUEST:
        return SendResult(
            Verdict.PROVIDER_DOWN,
            f"HTTP {reply.status}: redirects are not followed; give the endpoint's final URL",
        )
    return SendResult(Verdict.PROVIDER_DOWN, f"HTTP {reply.status}", retry_after=reply.retry_after)


def _not_sent(claim: WebhookClaim, now: dt.datetime) -> Finished[WebhookClaim] | None:
    """Return what to record of a message that must not be sent any more, or None."""
    if claim.tries > POLICY.max_attempts:
        error = USED_UP
    elif claim.expires_at is not None and now >= claim.expires_at:
        error = EXPIRED
    else:
        return None
    return Finished(claim, Attempt(claim.attempt, claim.provider, AttemptOutcome.DEAD, now, 0.0, error=error))


def _lost(claim: WebhookClaim, started_at: dt.datetime, duration: float) -> Finished[WebhookClaim]:
    lost = AttemptOutcome.LOST
    attempt = Attempt(claim.attempt, claim.provider, lost, started_at, duration, error=CUT_OFF)
    return Finished(claim, attempt, 0.0)


def _time_left(claim: WebhookClaim, now: dt.datetime) -> float:
    return (claim.expires_at - now).total_seconds() if claim.expires_at else float("inf")


def _shown(body: bytes) -> str:
    """Return how an answer begins, in one printable line, without what it may echo of private things."""
    text = scrub(body.decode("utf-8", "replace"), "")
    return _PRIVATE.sub("[hidden]", text)[:ANSWER_LENGTH]
