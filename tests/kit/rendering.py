"""Short ways to render one template."""

from __future__ import annotations

import html

import msgspec

from server.channels.email_message import Email
from server.domain.campaign import Campaign, Template, Undefined
from server.templates.render import Renderer, check_templates
from tests.kit.dispatch import make_campaign, make_trigger

STRICT = Undefined.STRICT


def render(
    parts: Template,
    *,
    event: str = "",
    locale: str = "",
    timezone: str = "",
    user_data: str = "",
    undefined: Undefined = Undefined.EMPTY,
    seconds: float = 1.0,
) -> Email:
    campaign = make_campaign(templates={"default": parts}, undefined=undefined)
    trigger = make_trigger(event=event, locale=locale, timezone=timezone, user_data=user_data)
    message = Renderer(seconds=seconds).render(campaign, trigger)
    assert isinstance(message, Email)
    return message


def template_faults(campaign: Campaign) -> list[str]:
    """Return all faults of a campaign's templates as text."""
    return [str(fault) for fault in check_templates(campaign)]


def text_of(
    source: str,
    *,
    event: str = "",
    locale: str = "",
    timezone: str = "",
    user_data: str = "",
    undefined: Undefined = Undefined.EMPTY,
) -> str:
    parts = Template(text=source)
    return render(
        parts, event=event, locale=locale, timezone=timezone, user_data=user_data, undefined=undefined
    ).text


DATA: str = msgspec.json.encode(
    {
        "none": None,
        "yes": True,
        "no": False,
        "one": 1,
        "word": "ab",
        "mixed": [None, True, 1, "x", [None, False]],
        "object": {"a": None, "b": [True, 'say "x"'], "c": {}},
        "rows": [
            {"n": "b", "v": 1},
            {"n": "a", "v": True},
            {"v": 0},
            {"n": None, "v": False},
            {"n": "C"},
        ],
    }
).decode()
"""An event with values of every type."""


def shown(source: str) -> str:
    """Return what a template prints, the same in text and in HTML."""
    text = text_of(f"[{source}]", event=DATA)
    assert html.unescape(render(Template(html=f"[{source}]"), event=DATA).html) == text
    return text[1:-1]
