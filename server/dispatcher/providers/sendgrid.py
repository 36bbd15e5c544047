"""SendGrid: email through its v3 Mail Send API.

https://www.twilio.com/docs/sendgrid/api-reference/mail-send/mail-send

The API has no idempotency keys: if a message whose answer was lost is repeated, both have the same
`Message-ID` and the same `trigger_id` in `custom_args`, which SendGrid includes in its activity feed and its
webhook events.
"""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Annotated, Any

import msgspec

from ...channels.base import Message
from ...channels.email_headers import list_headers, one_line
from ...channels.email_message import Email, envelope_address, sender_of
from ...domain.campaign import Channel
from ...domain.delivery_errors import ProviderError, Verdict
from ..redact import scrub
from .http import Answer, ApiSettings, HttpApi, verdict_of_other

__all__ = ["SendGridProvider", "SendGridSettings"]

_URL = "https://api.sendgrid.com"
_RECIPIENT_FIELD = re.compile(r"personalizations\.\d+\.to\.\d+\.email")

_CHECKED, _QUEUED, _BAD_REQUEST, _TOO_MANY = 200, 202, 400, 429

# https://www.twilio.com/docs/sendgrid/api-reference/how-to-use-the-sendgrid-v3-api/responses
# Any other status: PROVIDER_DOWN. A refused key or sender can be corrected, so no message is given up for it.
_VERDICTS = {
    200: Verdict.PROVIDER_DOWN,  # only checked, as in sandbox mode
    400: Verdict.NEVER,  # bad request; see `_verdict` for exceptions
    401: Verdict.PROVIDER_DOWN,  # key refused, or no credits left
    403: Verdict.PROVIDER_DOWN,  # sender not verified, or key without the permission
    404: Verdict.PROVIDER_DOWN,  # not found
    405: Verdict.PROVIDER_DOWN,  # method not allowed
    406: Verdict.PROVIDER_DOWN,  # Accept header missing
    413: Verdict.NEVER,  # payload too large
    415: Verdict.PROVIDER_DOWN,  # media type not supported
    429: Verdict.PROVIDER_DOWN,  # rate limit exceeded
    451: Verdict.PROVIDER_DOWN,  # data residency restrictions
    500: Verdict.PROVIDER_DOWN,  # internal error
    503: Verdict.PROVIDER_DOWN,  # service unavailable
}

Secret = Annotated[str, msgspec.Meta(pattern=r"^[\x21-\x7e]+\Z")]
Category = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]


class SendGridSettings(ApiSettings, frozen=True, kw_only=True):
    """Settings of a SendGrid account. In the EU, set `url` to https://api.eu.sendgrid.com."""

    api_key: Secret
    """An API key. It needs only the permission to send mail."""
    sandbox_mode: bool = False
    """Whether SendGrid validates messages without delivering them."""
    categories: Annotated[tuple[Category, ...], msgspec.Meta(max_length=10)] = ()
    """Categories of these messages in SendGrid's statistics."""

    def repr_fields(self) -> list[tuple[str, Any]]:
        """Leave out the key."""
        return [(name, value) for name, value in super().repr_fields() if name != "api_key"]


class _Fault(msgspec.Struct):
    """One of the errors in an answer; `field` is the path of the invalid field in the request."""

    message: str
    field: str | None = None


class _Refusal(msgspec.Struct):
    errors: list[_Fault]


class SendGridProvider:
    """Sends email through one SendGrid account. Click and open tracking are settings of the account."""

    channels = frozenset({Channel.EMAIL})

    def __init__(self, name: str, settings: SendGridSettings, data_dir: Path) -> None:
        self.name = name
        self.policy = settings
        self.timeout = settings.timeout
        self.concurrency = settings.concurrency
        self._settings = settings
        self._api = HttpApi(name, settings, _URL)

    async def send(self, message: Message) -> str:
        """Send an email and return SendGrid's `x-message-id`.

        Raises:
            ProviderError: SendGrid did not accept it, or the message is not a valid email.
        """
        if not isinstance(message, Email):
            raise ProviderError(Verdict.NEVER, "SendGrid sends only email", reached_provider=False)
        recipient = envelope_address(message.to)
        answer = await self._api.post(
            "/v3/mail/send",
            headers={
                "Authorization": f"Bearer {self._settings.api_key}",
                "Content-Type": "application/json",
                "Accept": "application/json",
                **message.trace_headers,
            },
            content=_encode(self._request(message, recipient)),
        )
        if answer.status == (_CHECKED if self._settings.sandbox_mode else _QUEUED):
            return scrub(answer.headers.get("x-message-id", ""), "")
        raise self._failure(answer, recipient)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._api.aclose()

    def _request(self, email: Email, recipient: str) -> dict[str, Any]:
        parts = (("text/plain", email.text), ("text/html", email.html))  # in the order that the API requires
        request: dict[str, Any] = {
            # An object only here: for the whole request, SendGrid's OpenAPI document has custom_args as text.
            "personalizations": [
                {"to": [{"email": recipient}], "custom_args": {"trigger_id": str(email.trigger_id)}}
            ],
            "from": _sender(email.sender),
            "subject": one_line(email.subject),
            "content": [{"type": kind, "value": value} for kind, value in parts if value],
            "headers": {
                "Message-ID": email.message_id,
                "Auto-Submitted": "auto-generated",
                "X-Clarion-Trigger-Id": str(email.trigger_id),
                **list_headers(email.list_id, email.unsubscribe_url),
            },
        }
        if self._settings.categories:
            request["categories"] = self._settings.categories
        if self._settings.sandbox_mode:
            request["mail_settings"] = {"sandbox_mode": {"enable": True}}
        return request

    def _failure(self, answer: Answer, recipient: str) -> ProviderError:
        faults = _faults(answer)
        errors = "; ".join(
            f"{fault.message} ({fault.field})" if fault.field else fault.message for fault in faults
        )
        text = f"SendGrid HTTP {answer.status}: {errors or 'no readable error'}"
        text = scrub(text.replace(self._settings.api_key, "[api_key]"), recipient)
        return ProviderError(_verdict(answer.status, faults), text, retry_after=_wait(answer))


def _verdict(status: int, faults: list[_Fault]) -> Verdict:
    if status == _BAD_REQUEST and not faults:
        return Verdict.PROVIDER_DOWN  # not from this API, perhaps from a proxy
    if status == _BAD_REQUEST and all(_RECIPIENT_FIELD.fullmatch(fault.field or "") for fault in faults):
        return Verdict.RECIPIENT_REFUSED
    return _VERDICTS.get(status) or verdict_of_other(status)


def _sender(sender: str) -> dict[str, str]:
    name, address = sender_of(sender)
    return {"email": address, "name": name} if name else {"email": address}


def _encode(request: dict[str, Any]) -> bytes:
    """Return a request as JSON. A lone surrogate, which UTF-8 cannot encode, becomes a question mark."""
    return json.dumps(request, ensure_ascii=False).encode("utf-8", "replace")


def _faults(answer: Answer) -> list[_Fault]:
    """Return the errors of an answer, or an empty list if it does not have the documented form."""
    try:
        return msgspec.convert(answer.body, _Refusal).errors
    except msgspec.ValidationError:
        return []


def _wait(answer: Answer) -> float | None:
    """Return the seconds to wait: from `Retry-After`, or until the Unix time in `X-RateLimit-Reset` of a 429.

    https://www.twilio.com/docs/sendgrid/api-reference/how-to-use-the-sendgrid-v3-api/rate-limits
    """
    if answer.retry_after is not None or answer.status != _TOO_MANY:
        return answer.retry_after
    reset = answer.headers.get("x-ratelimit-reset", "")
    return max(0.0, float(reset[:12]) - time.time()) if reset.isascii() and reset.isdecimal() else None
