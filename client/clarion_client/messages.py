"""The messages that can be triggered, one class and one call per channel."""

from __future__ import annotations

import datetime as dt
import uuid
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, Required, TypeAlias, TypedDict, TypeVar, Unpack

__all__ = ["Email", "Json", "Message", "Options", "Push", "Text", "TriggerCalls"]

Json: TypeAlias = Mapping[str, Any] | str
"""A JSON object: a mapping, or JSON text that is sent unchanged."""

ResultT = TypeVar("ResultT")
"""`Accepted`, or a coroutine that returns it."""


def _new_id() -> str:
    return str(uuid.uuid4())


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """The fields that messages of all channels share: create an Email, a Text or a Push.

    A message is one trigger: if the same object is sent again, nothing is sent twice.
    """

    campaign_id: int = field(kw_only=False)
    external_id: str
    """The caller's own ID for the user."""
    event: Json | None = field(default=None, repr=False)
    """A JSON object that templates read as `event`. Integers of any size are passed on exactly."""
    data: Json | None = field(default=None, repr=False)
    """More facts about the user, which templates read as `user.data`."""
    timezone: str | None = None
    """IANA time zone name, such as `America/Chicago`."""
    locale: str | None = None
    """BCP 47 tag, such as `pt-BR`."""
    send_at: dt.datetime | None = None
    """When to send the message, with a time zone; None: immediately."""
    retain: Literal["none"] | None = None
    """`none` for secrets such as one-time codes: the content is removed when the delivery ends."""
    request_id: str = field(default_factory=_new_id)
    """Idempotency key: printable ASCII without spaces. Preferably derived from an ID of the caller's own,
    such as an order number; by default a new UUID."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Email(Message):
    """An email message."""

    email: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Text(Message):
    """A text message."""

    phone: str = field(repr=False)
    """E.164 number, such as `+12345678900`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Push(Message):
    """A push notification."""

    device_token: str = field(repr=False)
    """The token that FCM or APNs issued to the device."""


class Options(TypedDict, total=False):
    """The arguments that `trigger_email` and its like share; see Message."""

    external_id: Required[str]
    event: Json | None
    data: Json | None
    timezone: str | None
    locale: str | None
    send_at: dt.datetime | None
    retain: Literal["none"] | None
    request_id: str | None


class TriggerCalls(ABC, Generic[ResultT]):
    """The trigger calls by channel."""

    @abstractmethod
    def trigger(self, message: Message, *, timeout: float | None = None) -> ResultT:
        """Trigger one message."""

    def trigger_email(
        self, campaign_id: int, *, email: str, timeout: float | None = None, **options: Unpack[Options]
    ) -> ResultT:
        """Trigger an Email with these arguments; see `trigger`."""
        return self.trigger(Email(campaign_id, email=email, **_given(options)), timeout=timeout)

    def trigger_text(
        self, campaign_id: int, *, phone: str, timeout: float | None = None, **options: Unpack[Options]
    ) -> ResultT:
        """Trigger a Text with these arguments; see `trigger`."""
        return self.trigger(Text(campaign_id, phone=phone, **_given(options)), timeout=timeout)

    def trigger_push(
        self, campaign_id: int, *, device_token: str, timeout: float | None = None, **options: Unpack[Options]
    ) -> ResultT:
        """Trigger a Push with these arguments; see `trigger`."""
        return self.trigger(Push(campaign_id, device_token=device_token, **_given(options)), timeout=timeout)


def _given(options: Options) -> Any:
    """Return the options without a `request_id` of None, so that the message creates its own."""
    return {name: value for name, value in options.items() if (name, value) != ("request_id", None)}
