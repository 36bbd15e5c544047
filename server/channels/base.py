"""The types that define a channel, and the base class of messages."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Self

import msgspec

from ..domain.campaign import Campaign, Channel, Template
from ..domain.trigger import Trigger
from .sms_segments import Segments

__all__ = ["Address", "ChannelSpec", "Message"]

_BODIES = ("text", "html", "mjml")


@dataclass(frozen=True, slots=True, repr=False)
class Message:
    """A rendered message of one trigger, ready for a provider."""

    channel: ClassVar[Channel]

    trigger_id: uuid.UUID
    traceparent: str = field(default="", kw_only=True)
    """The trigger's W3C trace context, or empty."""
    retain: str = field(default="", kw_only=True)
    """`none` if no copy may be kept; otherwise empty."""

    @classmethod
    def build(cls, campaign: Campaign, trigger: Trigger, parts: Mapping[str, str]) -> Self:
        """Return the message made of the rendered parts; `parts` maps a part's name to its text.

        Raises:
            ProviderError: The campaign's sender cannot be used.
        """
        raise NotImplementedError

    @property
    def trace_headers(self) -> dict[str, str]:
        """The headers that carry the trace context in a request to a provider."""
        return {"traceparent": self.traceparent} if self.traceparent else {}

    @property
    def segments(self) -> Segments | None:
        """The SMS segments that the message needs; None if it is not sent as SMS."""
        return None

    def to_file(self) -> tuple[str, bytes]:
        """Return the message as the sandbox writes it: the file name's suffix and the content.

        Raises:
            ProviderError: The message cannot be written in the channel's format.
        """
        shown = msgspec.to_builtins(self)
        for name in ("traceparent", "retain"):
            if not shown[name]:
                del shown[name]
        return ".json", msgspec.json.format(msgspec.json.encode(shown)) + b"\n"


def _no_problem(_address: str) -> None:
    return None


def _unchanged(address: str) -> str:
    return address


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """The address of a channel: its field in a trigger and its checks."""

    field: str
    """The field of `user` that holds it."""
    sample: str
    """A valid address, for previews."""
    is_plain: Callable[[str], bool] = bool
    """A cheap check of an address that satisfies the proto's rules: True only if it is valid and sent as
    given. The default is for addresses that need no other check."""
    problem: Callable[[str], str | None] = _no_problem
    """Return why an address that satisfies the proto's rules cannot be sent to, without repeating it."""
    pattern_problem: Callable[[str], str] | None = None
    """Describe how an address fails the proto's `pattern`, without repeating it."""
    as_sent: Callable[[str], str] = _unchanged
    """Return a valid address in the form in which it is stored and sent."""


def _no_campaign_problems(_campaign: Campaign) -> list[str]:
    return []


def _no_template_problems(_template: Template) -> list[tuple[str, str]]:
    return []


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelSpec:
    """Defines a channel.

    Its typed request is the member of `BatchItem` with the channel's name, and its gRPC method is named after
    that request; see `server/intake/typed.py`.
    """

    name: Channel
    noun: str
    """What a campaign of the channel sends, for help texts."""
    address: Address
    parts: tuple[str, ...]
    """The fields of `Template` that are rendered."""
    message: type[Message]
    has_unsubscribe_url: bool = False
    campaign_problems: Callable[[Campaign], list[str]] = _no_campaign_problems
    """Return the problems of a campaign of the channel, such as a missing sender."""
    template_problems: Callable[[Template], list[tuple[str, str]]] = _no_template_problems
    """Return the problems of a template, such as parts that exclude each other, each with its part."""

    @property
    def bodies(self) -> tuple[str, ...]:
        """The parts of which a message needs at least one."""
        return tuple(part for part in self.parts if part in _BODIES)
