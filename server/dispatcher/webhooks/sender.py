"""Sends webhook messages: signs them, posts them, and interprets the endpoint's reply."""

from __future__ import annotations

import datetime as dt
import http
import re

import structlog
from opentelemetry.trace import SpanKind, get_current_span

from ...domain.delivery import AttemptOutcome, Finished, HttpReply, Released
from ...domain.delivery_errors import Verdict
from ...domain.webhook import POLICY, Target, WebhookClaim
from ...tracing import AttemptSpan, annotate, context_of, is_recorded
from .. import metrics
from ..ports import SendPlan, SendResult
from ..redact import scrub
from .client import Poster, Reply
from .endpoints import Endpoints
from .signing import signed_headers

__all__ = ["WebhookSender"]

REPLY_LENGTH = 200
"""Maximum characters of a reply that the delivery log keeps."""
_DISABLED_WAIT = 1.0
"""Seconds to wait if the endpoint was disabled or deleted after the message was claimed."""
_PRIVATE = re.compile(r"[^\s@\"'<>]+@[^\s@\"'<>]+|\+?\d[\d ()-]{7,}\d|whsec_\S+|v1,\S+")
"""What looks like a recipient, a secret or a signature."""


class WebhookSender:
    """Plans, sends and reports the attempts of messages to endpoints."""

    def __init__(self, endpoints: Endpoints, poster: Poster) -> None:
        self._endpoints = endpoints
        self._poster = poster
        self._log = structlog.get_logger("clarion.webhooks").bind()

    async def plan(self, claim: WebhookClaim, now: dt.datetime) -> SendPlan | Released[WebhookClaim]:
        """Decide how to send a message, or release it if its endpoint is no longer active."""
        target = self._endpoints.target(claim.provider)
        if target is None:
            return Released(claim, _DISABLED_WAIT)
        return SendPlan(
            send=lambda: self._send(claim, target, now),
            policy=POLICY,
            expires_at=claim.expires_at,
            span=_span(claim) if is_recorded(claim.traceparent) else None,
        )

    def report(self, finished: Finished[WebhookClaim]) -> None:
        """Log the attempt in one line, without the URL or the reply's text, and count it."""
        claim, attempt = finished.claim, finished.attempt
        status = finished.reply.status if finished.reply else None
        metrics.webhook_attempted(attempt)
        log = self._log.info if attempt.outcome is AttemptOutcome.DELIVERED else self._log.warning
        log(
            "webhook_attempt",
            webhook_id=claim.provider,
            message_id=str(claim.id),
            type=claim.type,
            attempt=attempt.number,
            outcome=attempt.outcome,
            status=status,
            duration_ms=round(attempt.duration * 1000, 1),
            next_retry_in_s=None if finished.retry_in is None else round(finished.retry_in, 1),
            error=attempt.error,
        )
        if status == http.HTTPStatus.GONE:
            self._log.warning("webhook_disabled", webhook_id=claim.provider, reason="it answered 410 Gone")

    def expired(self, count: int) -> None:
        """Count messages that expired in the queue."""
        metrics.webhooks_expired(count)

    async def _send(self, claim: WebhookClaim, target: Target, now: dt.datetime) -> SendResult:
        body = claim.body.encode()
        headers = dict(signed_headers(claim.id, int(now.timestamp()), body, target.secrets.at(now)))
        if context := context_of(get_current_span()) or claim.traceparent:
            headers["traceparent"] = context
        reply = await self._poster.post(target.url, headers, body)
        annotate({"http.response.status_code": reply.status})
        return _interpret(reply)


def _span(claim: WebhookClaim) -> AttemptSpan:
    """Return the span of an attempt, without the URL, which may contain a secret."""
    attributes: dict[str, str | int | bool] = {
        "http.request.method": "POST",
        "clarion.webhook.id": claim.provider,
        "clarion.webhook.message.id": str(claim.id),
        "clarion.webhook.type": claim.type,
        "clarion.attempt.number": claim.attempt,
    }
    return AttemptSpan("webhook", SpanKind.CLIENT, claim.traceparent, attributes)


def _interpret(reply: Reply) -> SendResult:
    """Return the result for a reply. Only 410 is permanent; others may end, for example with a deployment."""
    status, kept = http.HTTPStatus, HttpReply(reply.status, _excerpt(reply.body))
    if status.OK <= reply.status < status.MULTIPLE_CHOICES:
        return SendResult(Verdict.SENT, reply=kept)
    if reply.status == status.GONE:
        return SendResult(Verdict.NEVER, "HTTP 410 Gone: the endpoint is now disabled", reply=kept)
    text = f"HTTP {reply.status}"
    if status.MULTIPLE_CHOICES <= reply.status < status.BAD_REQUEST:
        text += ": redirects are not followed; give the endpoint's final URL"
        return SendResult(Verdict.PROVIDER_DOWN, text, reply=kept)
    return SendResult(Verdict.PROVIDER_DOWN, text, reply.retry_after, reply=kept)


def _excerpt(body: bytes) -> str:
    """Return the start of a reply as one printable line, without addresses and secrets that it may echo."""
    text = scrub(body.decode("utf-8", "replace"), "")
    return _PRIVATE.sub("[hidden]", text)[:REPLY_LENGTH]
