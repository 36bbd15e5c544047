"""Campaigns: what is sent, by which channel, from which templates."""

from __future__ import annotations

import datetime as dt
import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated

import msgspec

__all__ = [
    "TEST_PROVIDER",
    "Campaign",
    "CampaignDraft",
    "CampaignState",
    "CampaignVersion",
    "Channel",
    "RetryPolicy",
    "SendWindow",
    "Template",
    "Undefined",
    "channel_of",
    "is_test_lane",
    "lane_of",
    "providers_of",
]

DEFAULT_LOCALE = "default"
TEST_PROVIDER = "_test"
"""Stands for the provider of tests. The names of real providers begin with a letter."""


class Channel(enum.StrEnum):
    """How a campaign reaches its users. Each is defined by the module of its name in `server.channels`."""

    EMAIL = "email"
    TEXT = "text"
    PUSH = "push"


class CampaignState(enum.StrEnum):
    """Whether a campaign accepts triggers."""

    ACTIVE = "active"
    PAUSED = "paused"


class Undefined(enum.StrEnum):
    """What a template renders for a variable that the trigger does not have."""

    EMPTY = "empty"
    STRICT = "strict"
    """The message is not sent: the delivery is dead, and its error names the variable."""


class Template(msgspec.Struct, frozen=True):
    """Liquid sources of one campaign in one locale. Which are used depends on the channel.

    Email uses subject, text, and html or mjml; it needs text, html or mjml. Text messages use text. Push uses
    title and text. MJML is converted to HTML when the message is rendered.
    """

    subject: str = ""
    text: str = ""
    html: str = ""
    mjml: str = ""
    title: str = ""


class RetryPolicy(msgspec.Struct, frozen=True):
    """Limits the attempts of a delivery, and the time between them. Times are in seconds."""

    max_attempts: Annotated[int, msgspec.Meta(ge=1, le=100)] = 8
    first_delay: Annotated[float, msgspec.Meta(ge=0, le=86_400)] = 2.0
    factor: Annotated[float, msgspec.Meta(ge=1, le=100)] = 3.0
    max_delay: Annotated[float, msgspec.Meta(ge=0, le=604_800)] = 3600.0
    ttl: Annotated[float, msgspec.Meta(ge=0, le=31_536_000)] = 0.0
    """Time from acceptance, or from `send_at`, after which the message is not sent; 0 means no limit."""


Clock = Annotated[str, msgspec.Meta(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]\Z")]


class SendWindow(msgspec.Struct, frozen=True):
    """The hours in which users may be reached, `HH:MM` in their time zone. It may span midnight."""

    opens: Clock
    closes: Clock


@dataclass(frozen=True, slots=True)
class Campaign:
    """A message that callers can trigger. `revision` increases with each change, so that caches notice it."""

    project_id: int
    id: int
    name: str
    channel: Channel
    providers: tuple[str, ...]
    """In the order of preference: each is used while those before it fail."""
    state: CampaignState = CampaignState.ACTIVE
    sender: str = ""
    templates: Mapping[str, Template] = field(default_factory=dict)
    retry: RetryPolicy | None = None
    """None means the provider's policy."""
    window: SendWindow | None = None
    unsubscribe_url: str = ""
    """A Liquid template, for the header List-Unsubscribe of an email."""
    undefined: Undefined = Undefined.EMPTY
    revision: int = 0
    managed_by: str | None = None
    """The file that it was applied from; empty if it is edited in the portal, None if that is not known."""
    archived_at: dt.datetime | None = None
    """When it was archived. An archived campaign is also paused."""
    lane: str = field(init=False, compare=False)
    """The queue's lane of this campaign."""

    def __post_init__(self) -> None:
        """Compute the lane once: every trigger of the campaign needs it."""
        object.__setattr__(self, "lane", lane_of(self.channel, self.providers))

    def lane_for(self, *, test: bool) -> str:
        """Return the lane of a trigger of this campaign; no provider ever serves that of tests."""
        return lane_of(self.channel, (TEST_PROVIDER,)) if test else self.lane


def is_test_lane(lane: str) -> bool:
    """Return whether the triggers of a lane are tests."""
    return lane.endswith(f"/{TEST_PROVIDER}")


@dataclass(frozen=True, slots=True)
class CampaignVersion:
    """One version of a campaign, whose `revision` is its number."""

    campaign: Campaign
    created_at: dt.datetime | None
    """None if an older version of Clarion created it."""
    created_by: str


@dataclass(frozen=True, slots=True)
class CampaignDraft:
    """The draft of a campaign: content that is not in force."""

    campaign: Campaign
    """The campaign with the content of the draft."""
    base_version: int
    """The version of the campaign that the draft was made from."""
    saved_at: dt.datetime
    saved_by: str


def lane_of(channel: Channel, providers: Sequence[str]) -> str:
    """Return the lane of all campaigns that use these providers in this order: `email/smtp,backup`."""
    return f"{channel}/{','.join(providers)}"


def channel_of(lane: str) -> str:
    """Return the name of a lane's channel."""
    return lane.partition("/")[0]


def providers_of(lane: str) -> list[str]:
    """Return the names of a lane's providers, in the order of preference."""
    return lane.partition("/")[2].split(",")
