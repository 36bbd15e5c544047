"""Campaigns and triggers: the choice of a template, and what a repr may show."""

from __future__ import annotations

import uuid

import pytest

from server.channels import CHANNELS
from server.domain.campaign import Campaign, Channel, Template, locale_chain
from server.domain.trigger import Trigger
from server.templates.render import chosen_locale

LOCALES = ("default", "pt", "pt-br", "zh-hant")


@pytest.mark.parametrize(
    ("locale", "chain"),
    [
        ("", ["default"]),
        ("en", ["en", "default"]),
        ("pt-BR", ["pt-br", "pt", "default"]),
        ("pt_BR", ["pt-br", "pt", "default"]),
        ("zh-Hant-TW", ["zh-hant-tw", "zh-hant", "zh", "default"]),
    ],
)
def test_locale_falls_back_to_shorter_tags(locale: str, chain: list[str]) -> None:
    assert locale_chain(locale) == chain


@pytest.mark.parametrize(
    ("locale", "chosen"),
    [("", "default"), ("pt-BR", "pt-br"), ("pt-PT", "pt"), ("zh-Hant-TW", "zh-hant"), ("fr-CA", "default")],
)
def test_the_template_of_the_nearest_locale_is_chosen(locale: str, chosen: str) -> None:
    templates = {name: Template(text=name) for name in LOCALES}
    campaign = Campaign(1, 44, "a", Channel.TEXT, ("sandbox",), templates=templates)
    assert campaign.templates[chosen_locale(campaign, locale)].text == chosen


def test_without_a_default_the_first_template_serves() -> None:
    campaign = Campaign(1, 44, "a", Channel.TEXT, ("sandbox",), templates={"es": Template(text="hola")})
    assert chosen_locale(campaign, "fr") == "es"


def test_each_channel_has_an_address_field() -> None:
    assert [CHANNELS[channel].address.field for channel in Channel] == ["email", "phone", "device_token"]


def test_a_triggers_repr_shows_neither_recipient_nor_content() -> None:
    trigger = Trigger(uuid.uuid4(), 1, 44, Channel.EMAIL, "ext-1", "a@b.co", event='{"secret": 1}')
    for shown in (repr(trigger), str(trigger), f"{[trigger]}"):
        assert str(trigger.id) in shown
        assert not any(hidden in shown for hidden in ("ext-1", "a@b.co", "secret"))
