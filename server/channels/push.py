"""Push notifications, addressed by an FCM or APNs device token."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

from ..domain.campaign import Campaign, Channel
from ..domain.trigger import Trigger
from ..domain.wording import at_position
from .base import Address, ChannelSpec, Message

__all__ = ["CHANNEL", "Push", "token_pattern_problem"]

_NOT_TOKEN = re.compile("[^A-Za-z0-9_:-]")


@dataclass(frozen=True, slots=True, repr=False)
class Push(Message):
    """A push notification. The app receives `data` in addition to the title and the body."""

    channel: ClassVar[Channel] = Channel.PUSH

    device_token: str
    title: str
    body: str
    data: Mapping[str, str]

    @classmethod
    def build(cls, campaign: Campaign, trigger: Trigger, parts: Mapping[str, str]) -> Self:
        """Return the notification, with the IDs of its trigger and campaign as data."""
        data = {"trigger_id": str(trigger.id), "campaign_id": str(campaign.id)}
        return cls(trigger.id, trigger.address, parts.get("title", ""), parts["text"].strip(), data)


def token_pattern_problem(token: str) -> str:
    """Describe a character that does not occur in FCM and APNs device tokens."""
    odd = _NOT_TOKEN.search(token)
    found = at_position(token, odd.start()) if odd else "a character"
    return f"contains {found}; only letters, digits, _ : and - are allowed"


CHANNEL = ChannelSpec(
    name=Channel.PUSH,
    noun="push notification",
    address=Address(
        field="device_token",
        sample="DEVICE_TOKEN",
        pattern_problem=token_pattern_problem,
    ),
    parts=("title", "text"),
    message=Push,
)
