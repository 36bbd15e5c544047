"""Campaigns: what is sent, by which channel, from which templates."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

import msgspec

__all__ = ["Campaign", "CampaignState", "Channel", "RetryPolicy", "Template", "locale_chain"]

DEFAULT_LOCALE = "default"


class Channel(enum.StrEnum):
    """How a campaign reaches its users."""

    EMAIL = "email"
    TEXT = "text"
    PUSH = "push"

    @property
    def address_field(self) -> str:
        """The member of `user` that holds the address of this channel."""
        return _ADDRESS_FIELDS[self]


_ADDRESS_FIELDS = {Channel.EMAIL: "email", Channel.TEXT: "phone", Channel.PUSH: "device_token"}


class CampaignState(enum.StrEnum):
    """Whether a campaign takes triggers."""

    ACTIVE = "active"
    PAUSED = "paused"


class Template(msgspec.Struct, frozen=True):
    """Liquid sources of one campaign in one locale. Which are used depends on the channel.

    Email uses subject, text and html (text or html may be empty, not both); text uses text;
    push uses title and text.
    """

    subject: str = ""
    text: str = ""
    html: str = ""
    title: str = ""


class RetryPolicy(msgspec.Struct, frozen=True):
    """How often and how long a delivery is tried. Times in seconds."""

    max_attempts: Annotated[int, msgspec.Meta(ge=1, le=100)] = 8
    first_delay: Annotated[float, msgspec.Meta(ge=0, le=86_400)] = 2.0
    factor: Annotated[float, msgspec.Meta(ge=1, le=100)] = 3.0
    max_delay: Annotated[float, msgspec.Meta(ge=0, le=604_800)] = 3600.0


@dataclass(frozen=True, slots=True)
class Campaign:
    """One message that can be triggered. `revision` grows with each change (cache key)."""

    project_id: int
    id: int
    name: str
    channel: Channel
    provider: str
    state: CampaignState = CampaignState.ACTIVE
    sender: str = ""
    templates: Mapping[str, Template] = field(default_factory=dict)
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    revision: int = 0

    def template_for(self, locale: str) -> Template:
        """Return the template for a BCP 47 locale: `pt-BR` → `pt` → default."""
        for candidate in locale_chain(locale):
            if candidate in self.templates:
                return self.templates[candidate]
        return next(iter(self.templates.values()))


def locale_chain(locale: str) -> list[str]:
    """Return the locale keys to look for, the best first: `pt-br`, `pt`, `default`."""
    parts = locale.replace("_", "-").lower().split("-") if locale else []
    return ["-".join(parts[:end]) for end in range(len(parts), 0, -1)] + [DEFAULT_LOCALE]
