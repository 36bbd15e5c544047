"""Campaigns and triggers: the fields of addresses, and what a repr may show."""

from __future__ import annotations

import uuid

from server.channels import CHANNELS
from server.domain.campaign import Channel
from server.domain.trigger import Trigger


def test_each_channel_has_an_address_field() -> None:
    assert [CHANNELS[channel].address.field for channel in Channel] == ["email", "phone", "device_token"]


def test_a_triggers_repr_shows_neither_recipient_nor_content() -> None:
    trigger = Trigger(uuid.uuid4(), 1, 44, Channel.EMAIL, "ext-1", "a@b.co", event='{"secret": 1}')
    for shown in (repr(trigger), str(trigger), f"{[trigger]}"):
        assert str(trigger.id) in shown
        assert not any(hidden in shown for hidden in ("ext-1", "a@b.co", "secret"))
