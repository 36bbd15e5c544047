"""Twilio: text messages through its Messages API.

https://www.twilio.com/docs/messaging/api/message-resource

Success means that Twilio queued the message. Later delivery reports of the carriers are not received.

The API has no idempotency keys and stores no client reference: if a text whose answer was lost is repeated,
only its content shows that it is a duplicate.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import msgspec

from ...channels.base import Message
from ...channels.sms_segments import segments
from ...channels.text import Text
from ...domain.campaign import Channel
from ...domain.delivery_errors import ProviderError, Verdict
from ...errors import ConfigError
from ..redact import scrub
from .http import Answer, ApiSettings, HttpApi, verdict_of_other

__all__ = ["TwilioProvider", "TwilioSettings"]

_URL = "https://api.twilio.com"
MAX_CHARACTERS = 1600
"""Maximum length of `Body` (error 21617)."""
_CREATED = 201
_ABOUT_THE_MESSAGE = frozenset(range(400, 500)) - {401, 403, 408, 429}
_FAILED = frozenset({"failed", "undelivered"})

# https://www.twilio.com/docs/api/errors. Codes from 30000 come with messages that failed at once.
_VERDICTS = {
    # Problems of the account or the service. They can be fixed or are temporary, so no message is given up.
    20003: Verdict.PROVIDER_DOWN,  # credentials refused
    20005: Verdict.PROVIDER_DOWN,  # account not active
    20006: Verdict.PROVIDER_DOWN,  # access denied
    20403: Verdict.PROVIDER_DOWN,  # forbidden
    20404: Verdict.PROVIDER_DOWN,  # not found: no such account for these credentials
    20429: Verdict.PROVIDER_DOWN,  # too many requests
    20500: Verdict.PROVIDER_DOWN,  # internal error
    20503: Verdict.PROVIDER_DOWN,  # service unavailable
    20504: Verdict.PROVIDER_DOWN,  # internal error
    21611: Verdict.PROVIDER_DOWN,  # the sender's queue is full
    21701: Verdict.PROVIDER_DOWN,  # messaging service does not exist
    21702: Verdict.PROVIDER_DOWN,  # messaging service not available
    21703: Verdict.PROVIDER_DOWN,  # messaging service has no number available
    21704: Verdict.PROVIDER_DOWN,  # messaging service has no numbers
    21705: Verdict.PROVIDER_DOWN,  # messaging service invalid
    21730: Verdict.PROVIDER_DOWN,  # under maintenance
    30001: Verdict.PROVIDER_DOWN,  # queue overflow
    30002: Verdict.PROVIDER_DOWN,  # account suspended
    30022: Verdict.PROVIDER_DOWN,  # over the rate that US carriers allow
    63038: Verdict.PROVIDER_DOWN,  # over the account's messages a day
    # Temporary problems of this message.
    14107: Verdict.LATER,  # too many between these two numbers
    30003: Verdict.LATER,  # handset cannot be reached
    30008: Verdict.LATER,  # unknown error
    # Permanent problems of the recipient.
    21211: Verdict.RECIPIENT_REFUSED,  # invalid 'To'
    21265: Verdict.RECIPIENT_REFUSED,  # 'To' is a short code
    21268: Verdict.RECIPIENT_REFUSED,  # 'To' is a premium number
    21614: Verdict.RECIPIENT_REFUSED,  # not a mobile number
    21635: Verdict.RECIPIENT_REFUSED,  # a landline
    # Opted out of this sender or messaging service. Twilio keeps the list, which START ends.
    21610: Verdict.OPTED_OUT,
    # Permanent problems of the message: its sender, text or destination.
    21212: Verdict.NEVER,  # invalid 'From'
    21266: Verdict.NEVER,  # 'To' and 'From' are the same
    21408: Verdict.NEVER,  # region not enabled for the account
    21602: Verdict.NEVER,  # no body
    21603: Verdict.NEVER,  # no 'From'
    21606: Verdict.NEVER,  # 'From' cannot send messages
    21608: Verdict.NEVER,  # 'To' not verified for a trial account
    21612: Verdict.NEVER,  # 'To' cannot be reached from this 'From'
    21617: Verdict.NEVER,  # body too long
    21619: Verdict.NEVER,  # no body
    21658: Verdict.NEVER,  # a parameter is too long
    21659: Verdict.NEVER,  # 'From' is not a Twilio number
    21660: Verdict.NEVER,  # 'From' belongs to another account
    21661: Verdict.NEVER,  # 'From' cannot send texts
    30004: Verdict.NEVER,  # blocked: the number, our sender or this text
    30005: Verdict.NEVER,  # unknown handset, or one that is switched off
    30006: Verdict.NEVER,  # landline, or a carrier that this sender does not reach
    30007: Verdict.NEVER,  # filtered as spam
}

Secret = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
AccountSid = Annotated[str, msgspec.Meta(pattern=r"^AC[0-9a-f]{32}\Z")]
KeySid = Annotated[str, msgspec.Meta(pattern=r"^SK[0-9a-f]{32}\Z")]
ServiceSid = Annotated[str, msgspec.Meta(pattern=r"^MG[0-9a-f]{32}\Z")]
Number = Annotated[str, msgspec.Meta(pattern=r"^(\+[1-9][0-9]{6,14}|[0-9]{3,8})\Z")]


class TwilioSettings(ApiSettings, frozen=True, kw_only=True):
    """Settings of a Twilio account: an auth token or API key, and a number or messaging service."""

    account_sid: AccountSid
    auth_token: Secret | None = None
    """The account's token. Prefer an API key, which can be revoked separately."""
    api_key: KeySid | None = None
    """The SID of an API key; its secret is `api_secret`."""
    api_secret: Secret | None = None
    from_number: Number | None = None
    """The sender of campaigns without one, in E.164 form or as a short code."""
    messaging_service_sid: ServiceSid | None = None
    """The messaging service that chooses the sender for campaigns without one."""
    max_segments: Annotated[int, msgspec.Meta(ge=1, le=50)] = 10
    """Maximum SMS segments of one text; a longer text is most likely a mistake and is not sent."""

    def repr_fields(self) -> list[tuple[str, Any]]:
        """Leave out the secrets."""
        return [
            (name, value) for name, value in super().repr_fields() if name not in {"auth_token", "api_secret"}
        ]


class _Result(msgspec.Struct):
    """The fields of an answer that are used: of an error, or of the message and its status."""

    code: int | None = None
    message: str | None = None
    sid: str | None = None
    status: str | int | None = None
    error_code: int | None = None
    error_message: str | None = None


class TwilioProvider:
    """Sends text messages through one Twilio account."""

    channels = frozenset({Channel.TEXT})

    def __init__(self, name: str, settings: TwilioSettings, data_dir: Path) -> None:
        self._auth = _credentials(name, settings)
        self._sender = _default_sender(name, settings)
        self.name = name
        self.policy = settings
        self.timeout = settings.timeout
        self.concurrency = settings.concurrency
        self._max_segments = settings.max_segments
        self._path = f"/2010-04-01/Accounts/{settings.account_sid}/Messages.json"
        self._api = HttpApi(name, settings, _URL)

    async def send(self, message: Message) -> str:
        """Send a text message and return Twilio's `sid`.

        Raises:
            ProviderError: Twilio did not accept it, or the text is too long.
        """
        if not isinstance(message, Text):
            raise _unsendable("Twilio sends only text messages")
        body = message.body.encode("utf-8", "replace").decode()  # a form cannot encode a lone surrogate
        self._refuse_too_long(body)
        sender = {"From": message.sender} if message.sender else self._sender
        form = {"To": message.to, "Body": body, **sender}
        headers = message.trace_headers
        answer = await self._api.post(self._path, headers=headers, form=form, auth=self._auth)
        result = _read(answer)
        created = bool(result.sid) and result.status not in _FAILED
        if answer.status == _CREATED and (created or not answer.complete):
            return scrub(result.sid or "", "")  # also if truncated: a retry would send a duplicate
        raise self._failure(answer, result, message.to)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._api.aclose()

    def _refuse_too_long(self, body: str) -> None:
        if len(body) > MAX_CHARACTERS:
            raise _unsendable(f"the text has {len(body)} characters; Twilio accepts {MAX_CHARACTERS}")
        needed = segments(body)
        if needed.count > self._max_segments:
            needs = f"the text needs {needed.count} SMS segments ({needed.encoding})"
            raise _unsendable(f"{needs}; max_segments is {self._max_segments}")

    def _failure(self, answer: Answer, result: _Result, recipient: str) -> ProviderError:
        code = result.code or result.error_code
        what = result.message or result.error_message or "no readable error"
        text = f"Twilio HTTP {answer.status}{f', code {code}' if code else ''}: {what}"
        text = scrub(text.replace(self._auth[1], "[secret]"), recipient)
        verdict = _VERDICTS.get(code or 0) or _by_status(answer.status, code, result)
        return ProviderError(verdict, text, retry_after=answer.retry_after)


def _unsendable(problem: str) -> ProviderError:
    return ProviderError(Verdict.NEVER, problem, reached_provider=False)


def _by_status(status: int, code: int | None, result: _Result) -> Verdict:
    """Return the verdict for an unknown code. An answer without a code may not be from Twilio."""
    if code and status == _CREATED:
        return Verdict.LATER
    if result.status in _FAILED:
        return Verdict.PROVIDER_DOWN
    return Verdict.NEVER if code and status in _ABOUT_THE_MESSAGE else verdict_of_other(status)


def _read(answer: Answer) -> _Result:
    try:
        return msgspec.convert(answer.body, _Result, strict=False)
    except msgspec.ValidationError:
        return _Result()


def _credentials(name: str, settings: TwilioSettings) -> tuple[str, str]:
    """Return the user name and password: the account and its token, or an API key and its secret."""
    if settings.auth_token and (settings.api_key or settings.api_secret):
        raise ConfigError(f"providers.{name}.auth_token: set this, or api_key and api_secret, not both")
    if settings.auth_token:
        return settings.account_sid, settings.auth_token
    if not settings.api_key:
        field = "api_key" if settings.api_secret else "auth_token"
        raise ConfigError(f"providers.{name}.{field}: is required: auth_token, or api_key and api_secret")
    if not settings.api_secret:
        raise ConfigError(f"providers.{name}.api_secret: is required with an api_key")
    return settings.api_key, settings.api_secret


def _default_sender(name: str, settings: TwilioSettings) -> dict[str, str]:
    """Return the form field that sets the sender for campaigns without one."""
    if settings.from_number and settings.messaging_service_sid:
        raise ConfigError(f"providers.{name}.from_number: set this or messaging_service_sid, not both")
    if settings.messaging_service_sid:
        return {"MessagingServiceSid": settings.messaging_service_sid}
    if settings.from_number:
        return {"From": settings.from_number}
    raise ConfigError(f"providers.{name}.from_number: is required, or messaging_service_sid")
