"""Twilio: text messages by its Messages API.

https://www.twilio.com/docs/messaging/api/message-resource

Yes means that Twilio queued the message. What the carriers make of it afterwards is not heard here.

The API knows no idempotency key and keeps no reference of ours: a text whose answer was lost is sent again,
and nothing but its content tells that it is the same.
"""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated, Any

import msgspec

from ...channels.base import Message
from ...channels.sms_segments import segments
from ...channels.text import Text
from ...domain.campaign import Channel
from ...errors import ConfigError, Permanent, ProviderError, RecipientRefused, Transient
from ..redact import scrub
from .http import Answer, ApiSettings, HttpApi

__all__ = ["TwilioProvider", "TwilioSettings"]

_URL = "https://api.twilio.com"
MAX_CHARACTERS = 1600
"""What `Body` may hold (error 21617)."""
_CREATED = 201
_ABOUT_THE_MESSAGE = frozenset(range(400, 500)) - {401, 403, 408, 429}
_FAILED = frozenset({"failed", "undelivered"})


class _Verdict(enum.Enum):
    """What an error means for the message."""

    NEVER = "no use for this message"
    NOT_TO_THEM = "no use for this recipient"
    LATER = "another try, of this message"
    NOT_NOW = "no use for any message now"


# https://www.twilio.com/docs/api/errors. The codes from 30000 on stand in a message that failed at once.
_VERDICTS = {
    # The account, its settings and its limits: soon corrected or over, so that nothing may be lost over it.
    20003: _Verdict.NOT_NOW,  # credentials refused
    20005: _Verdict.NOT_NOW,  # account not active
    20006: _Verdict.NOT_NOW,  # access denied
    20403: _Verdict.NOT_NOW,  # forbidden
    20404: _Verdict.NOT_NOW,  # not found: no such account for these credentials
    20429: _Verdict.NOT_NOW,  # too many requests
    20500: _Verdict.NOT_NOW,  # internal error
    20503: _Verdict.NOT_NOW,  # service unavailable
    20504: _Verdict.NOT_NOW,  # internal error
    21611: _Verdict.NOT_NOW,  # the sender's queue is full
    21701: _Verdict.NOT_NOW,  # messaging service does not exist
    21702: _Verdict.NOT_NOW,  # messaging service not available
    21703: _Verdict.NOT_NOW,  # messaging service has no number available
    21704: _Verdict.NOT_NOW,  # messaging service has no numbers
    21705: _Verdict.NOT_NOW,  # messaging service invalid
    21730: _Verdict.NOT_NOW,  # under maintenance
    30001: _Verdict.NOT_NOW,  # queue overflow
    30002: _Verdict.NOT_NOW,  # account suspended
    30022: _Verdict.NOT_NOW,  # over the rate that US carriers allow
    63038: _Verdict.NOT_NOW,  # over the account's messages a day
    # This message, at this moment.
    14107: _Verdict.LATER,  # too many between these two numbers
    30003: _Verdict.LATER,  # handset cannot be reached
    30008: _Verdict.LATER,  # unknown error
    # The recipient.
    21211: _Verdict.NOT_TO_THEM,  # invalid 'To'
    21265: _Verdict.NOT_TO_THEM,  # 'To' is a short code
    21268: _Verdict.NOT_TO_THEM,  # 'To' is a premium number
    21610: _Verdict.NOT_TO_THEM,  # opted out
    21614: _Verdict.NOT_TO_THEM,  # not a mobile number
    21635: _Verdict.NOT_TO_THEM,  # a landline
    30004: _Verdict.NOT_TO_THEM,  # blocked
    30005: _Verdict.NOT_TO_THEM,  # unknown handset
    30006: _Verdict.NOT_TO_THEM,  # landline, or no carrier
    # The message: its sender, its text, or where it is to go.
    21212: _Verdict.NEVER,  # invalid 'From'
    21266: _Verdict.NEVER,  # 'To' and 'From' are the same
    21408: _Verdict.NEVER,  # region not enabled for the account
    21602: _Verdict.NEVER,  # no body
    21603: _Verdict.NEVER,  # no 'From'
    21606: _Verdict.NEVER,  # 'From' cannot send messages
    21608: _Verdict.NEVER,  # 'To' not verified for a trial account
    21612: _Verdict.NEVER,  # no way from this 'From' to this 'To'
    21617: _Verdict.NEVER,  # body too long
    21619: _Verdict.NEVER,  # no body
    21658: _Verdict.NEVER,  # a parameter is too long
    21659: _Verdict.NEVER,  # 'From' is no number of Twilio's
    21660: _Verdict.NEVER,  # 'From' belongs to another account
    21661: _Verdict.NEVER,  # 'From' cannot send texts
    30007: _Verdict.NEVER,  # filtered as spam
}

Secret = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
AccountSid = Annotated[str, msgspec.Meta(pattern=r"^AC[0-9a-f]{32}\Z")]
KeySid = Annotated[str, msgspec.Meta(pattern=r"^SK[0-9a-f]{32}\Z")]
ServiceSid = Annotated[str, msgspec.Meta(pattern=r"^MG[0-9a-f]{32}\Z")]
Number = Annotated[str, msgspec.Meta(pattern=r"^(\+[1-9][0-9]{6,14}|[0-9]{3,8})\Z")]


class TwilioSettings(ApiSettings, frozen=True, kw_only=True):
    """Settings of a Twilio account: its token or an API key, and a number or a messaging service."""

    account_sid: AccountSid
    auth_token: Secret | None = None
    """The account's own token. An API key can be revoked alone, so it is the better choice."""
    api_key: KeySid | None = None
    """The SID of an API key; its secret is `api_secret`."""
    api_secret: Secret | None = None
    from_number: Number | None = None
    """Who sends, in E.164 or as a short code, unless the campaign names its sender."""
    messaging_service_sid: ServiceSid | None = None
    """The service that picks who sends, unless the campaign names its sender."""
    max_segments: Annotated[int, msgspec.Meta(ge=1, le=50)] = 10
    """SMS that one text may become; a longer one is given up, for it is most likely a mistake."""

    def shown(self) -> list[tuple[str, Any]]:
        """Leave out the secrets."""
        return [(name, value) for name, value in super().shown() if name not in {"auth_token", "api_secret"}]


class _Said(msgspec.Struct):
    """An answer: an error, or the message with its fate so far. What is not used is left out."""

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
        """Send a text message. The receipt has Twilio's `sid`.

        Raises:
            RecipientRefused: Nothing reaches this number, or its owner has opted out.
            Permanent: The text is too long, or Twilio takes no such message.
            Transient: Twilio takes none now: throttled, down, or credentials that it refuses.
        """
        if not isinstance(message, Text):
            raise Permanent("Twilio carries nothing but text messages", reached_provider=False)
        body = message.body.encode("utf-8", "replace").decode()  # no form can carry half a surrogate pair
        self._refuse_too_long(body)
        sender = {"From": message.sender} if message.sender else self._sender
        form = {"To": message.to, "Body": body, **sender}
        answer = await self._api.post(self._path, form=form, auth=self._auth)
        said = _read(answer)
        created = bool(said.sid) and said.status not in _FAILED
        if answer.status == _CREATED and (created or not answer.complete):
            return scrub(said.sid or "", "")  # a yes that broke off is a yes: nobody gets it twice
        raise self._failure(answer, said, message.to)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._api.aclose()

    def _refuse_too_long(self, body: str) -> None:
        if len(body) > MAX_CHARACTERS:
            raise Permanent(
                f"the text has {len(body)} characters, but Twilio takes {MAX_CHARACTERS}",
                reached_provider=False,
            )
        needed = segments(body)
        if needed.count > self._max_segments:
            limit = self._max_segments
            raise Permanent(
                f"the text takes {needed.count} SMS in {needed.encoding}, max_segments is {limit}",
                reached_provider=False,
            )

    def _failure(self, answer: Answer, said: _Said, recipient: str) -> ProviderError:
        code = said.code or said.error_code
        what = said.message or said.error_message or "no error that could be read"
        text = f"Twilio HTTP {answer.status}{f', code {code}' if code else ''}: {what}"
        words = scrub(text.replace(self._auth[1], "[secret]"), recipient)
        match _VERDICTS.get(code or 0) or _by_status(answer.status, code):
            case _Verdict.NEVER:
                return Permanent(words)
            case _Verdict.NOT_TO_THEM:
                return RecipientRefused(words)
            case verdict:
                of_provider = verdict is _Verdict.NOT_NOW
                return Transient(words, retry_after=answer.retry_after, of_provider=of_provider)


def _by_status(status: int, code: int | None) -> _Verdict:
    """Judge an answer whose code is not in the table, or that has none and so may not be Twilio's at all."""
    if code and status == _CREATED:
        return _Verdict.LATER
    return _Verdict.NEVER if code and status in _ABOUT_THE_MESSAGE else _Verdict.NOT_NOW


def _read(answer: Answer) -> _Said:
    try:
        return msgspec.convert(answer.body, _Said, strict=False)
    except msgspec.ValidationError:
        return _Said()


def _credentials(name: str, settings: TwilioSettings) -> tuple[str, str]:
    """Return user name and password: the account and its token, or an API key and its secret."""
    if settings.auth_token and (settings.api_key or settings.api_secret):
        raise ConfigError(f"providers.{name}.auth_token: give either this, or api_key and api_secret")
    if settings.auth_token:
        return settings.account_sid, settings.auth_token
    if not settings.api_key:
        field = "api_key" if settings.api_secret else "auth_token"
        raise ConfigError(f"providers.{name}.{field}: is required: auth_token, or api_key and api_secret")
    if not settings.api_secret:
        raise ConfigError(f"providers.{name}.api_secret: is required with an api_key")
    return settings.api_key, settings.api_secret


def _default_sender(name: str, settings: TwilioSettings) -> dict[str, str]:
    """Return the form's fields that say who sends, for campaigns that do not."""
    if settings.from_number and settings.messaging_service_sid:
        raise ConfigError(f"providers.{name}.from_number: give either this or messaging_service_sid")
    if settings.messaging_service_sid:
        return {"MessagingServiceSid": settings.messaging_service_sid}
    if settings.from_number:
        return {"From": settings.from_number}
    raise ConfigError(f"providers.{name}.from_number: is required, or messaging_service_sid")
