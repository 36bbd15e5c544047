"""The campaign's unsubscribe_url, a template whose result must be valid in a mail header."""

from __future__ import annotations

import pytest

from server.channels.email_message import Email
from server.domain.campaign import Channel, Template, Undefined
from server.domain.delivery_errors import RenderError
from server.templates.render import Renderer
from tests.kit.cases import each_case
from tests.kit.dispatch import make_campaign, make_trigger
from tests.kit.rendering import template_faults


def url_of(source: str, event: str = "", undefined: Undefined = Undefined.EMPTY) -> str:
    templates = {"default": Template(text="x")}
    campaign = make_campaign(templates=templates, unsubscribe_url=source, undefined=undefined)
    message = Renderer().render(campaign, make_trigger(event=event))
    assert isinstance(message, Email)
    return message.unsubscribe_url


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("", ""),
        ("https://shop.example/u?t={{ event.t }}&a=1", "https://shop.example/u?t=T1&a=1"),
        (
            "https://x.example/{{ user.email | url_encode }}\n",
            "https://x.example/zoe.sommer%40example.org",
        ),
        ("mailto:leave@shop.example?subject={{ event.t }}", "mailto:leave@shop.example?subject=T1"),
        ("HTTPS://x", "HTTPS://x"),
        ("https://x.example/" + "y" * 1982, "https://x.example/" + "y" * 1982),
    ],
)
def test_the_url_is_rendered_into_the_email(source: str, expected: str) -> None:
    assert url_of(source, event='{"t": "T1"}') == expected


@each_case(
    "value",
    [
        "http://x.example",
        "javascript:alert(1)",
        "https://",
        "https:///path",
        "mailto:",
        "",
        "https://x.example/a b",
        "https://x.example/a\\r\\nBcc: other@example.com",
        "https://x.example/>, <https://evil.example",
        "https://bücher.example",
        "https://x.example/\\u0000",
        "https://x.example/" + "y" * 1983,
        "https://x.example:99999/",
        "https://x.example:0/",
        "https://x.example:a/",
        "https://[::1/",
        "https://[x]/",
    ],
)
def test_unusable_urls_are_rejected_and_not_quoted(value: str) -> None:
    with pytest.raises(RenderError, match=r"^unsubscribe_url: ") as caught:
        url_of("{{ event.url }}", event=f'{{"url": "{value}"}}')
    assert "x.example" not in str(caught.value)


def test_strict_missing_variable_in_the_url() -> None:
    with pytest.raises(RenderError, match=r"^unsubscribe_url, line 1, column 14: event\.token is undefined$"):
        url_of("https://x/{{ event.token }}", undefined=Undefined.STRICT)


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ("https://x/{{ event.", "unsubscribe_url, line 1, column 11: "),
        ("https://x/{{ user.email | encode }}", "unsubscribe_url, line 1, column 27: unknown filter"),
        ("http://x", "unsubscribe_url: must start with https://"),
    ],
)
def test_apply_checks_the_url(source: str, fault: str) -> None:
    [found] = template_faults(make_campaign(unsubscribe_url=source))
    assert found.startswith(fault)


def test_only_email_campaigns_have_one() -> None:
    parts = {"default": Template(title="a", text="b")}
    for channel in (Channel.TEXT, Channel.PUSH):
        campaign = make_campaign(channel=channel, templates=parts, unsubscribe_url="https://x")
        assert template_faults(campaign) == ["unsubscribe_url: only email campaigns can have one"]
