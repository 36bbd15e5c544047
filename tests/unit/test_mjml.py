"""MJML templates: conversion to HTML, checks and limits."""

from __future__ import annotations

import json
from html.parser import HTMLParser

import pytest

from server.domain.campaign import Channel, Template
from server.domain.delivery_errors import RenderError
from server.templates import mjml
from tests.kit.cpu import little_cpu
from tests.kit.dispatch import make_campaign
from tests.kit.rendering import STRICT, render, template_faults

DOCUMENT = """<mjml>
<mj-body><mj-section><mj-column>
<mj-text>{}</mj-text>
</mj-column></mj-section></mj-body>
</mjml>"""


def document(content: str) -> str:
    return DOCUMENT.replace("{}", content)


def faults(source: str) -> list[str]:
    return template_faults(make_campaign(templates={"default": Template(mjml=source)}))


def test_mjml_becomes_html_with_data() -> None:
    message = render(Template(mjml=document("Hello <b>{{ event.name }}</b>")), event='{"name": "Zoë"}')
    assert message.html.startswith("<!doctype html>")
    assert "Hello <b>Zoë</b>" in message.html
    assert "<mj-" not in message.html


def test_values_are_escaped_in_mjml() -> None:
    evil = '{"x": "<script>alert(1)</script><mj-include path=\'a\'/>", "y": "\\" onclick=\\"z\' b=\'"}'
    source = document("{{ event.x }}<a href=\"{{ event.y }}\" title='{{ event.y }}'>a</a>")
    html = render(Template(mjml=source), event=evil).html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;&lt;mj-include" in html
    assert "<script" not in html
    assert 'href="&#34; onclick=&#34;z&#39; b=&#39;"' in html


@pytest.mark.parametrize(
    ("written", "family"),
    [
        ("font-family='\"Open Sans\", Arial'", '"Open Sans", Arial'),
        ("font-family = '\"Open Sans\"'", '"Open Sans"'),
        ("font-family=\"'Open Sans', Arial\"", "'Open Sans', Arial"),
        ("font-family='&#39;Open Sans&#39;'", "'Open Sans'"),
    ],
)
def test_quotes_stay_in_their_attribute(written: str, family: str) -> None:
    text = "'it' <!-- a='\"' -->"
    found = mjml.to_html(DOCUMENT.replace("<mj-text>{}", f"<mj-text {written}>{text}"))
    assert text in found
    styles = _Styles()
    styles.feed(found)
    assert any(f"font-family:{family};" in style for style in styles.found)


class _Styles(HTMLParser):
    """Collects the style attributes of an HTML document."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value or "" for name, value in attrs if name == "style"]


def test_data_with_quotes_stay_in_their_attribute() -> None:
    source = DOCUMENT.replace("<mj-text>", "<mj-text css-class='{{ event.a }}'>")
    found = render(Template(mjml=source), event=json.dumps({"a": "5\" x='y' <b>"})).html
    assert 'class="5&#34; x=&#39;y&#39; &lt;b&gt;"' in found


def test_mjml_and_text_are_both_sent() -> None:
    message = render(Template(text="plain", mjml=document("rich")))
    assert (message.text, "rich" in message.html) == ("plain", True)


def test_html_and_mjml_together_are_rejected() -> None:
    both = {"pt": Template(text="x", html="x", mjml=document("x"))}
    assert template_faults(make_campaign(templates=both)) == [
        "pt mjml: set html or mjml, not both: MJML is converted to HTML"
    ]
    assert template_faults(make_campaign(channel=Channel.PUSH, templates=both)) == []


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        (document("{{ a b }}"), "default mjml, line 3, column 15: "),
        (document("{{ a | nope }}"), "default mjml, line 3, column 17: unknown filter"),
        ("text", "default mjml: unable to parse"),
        ("<html></html>", "default mjml: unexpected token at line 1, column 1 of the MJML"),
        (document("é<![CDATA[x]]>"), "default mjml: unexpected token at line 3, column 11 of the MJML"),
        (document("<p>"), "default mjml: unexpected end of stream: an element is not closed"),
        (document("{% for i in event.items %}<p>{% endfor %}"), "default mjml: unexpected end of stream"),
        (document("{% assign l = event.l | map: 'x' %}{% for i in l %}<p>{% endfor %}"), "unexpected end"),
        (
            document("{% if event.x %}</mj-text><mj-{{ event.x }}/><mj-text>{% endif %}"),
            "<mj-sample> is misspelt",
        ),
        (document("{% if event.vip %}a < b{% endif %}"), "default mjml: unable to parse next template"),
        ("<mjml><mj-body><mj-sectoin/></mj-body></mjml>", "<mj-sectoin> is misspelt or not allowed here"),
    ],
)
def test_apply_rejects_malformed_mjml(source: str, fault: str) -> None:
    [found] = faults(source)
    assert fault in found


@pytest.mark.parametrize(
    "source",
    [
        document("{{ event.x }}<br>&nbsp;<a href='?a=1&b=2'>x</a><!-- <mj-text>old</mj-text> -->"),
        document("{% for item in event.items %}<p>{{ item.price | times: item.n }}</p>{% endfor %}"),
        document("{{ event.at | datetime }}{{ event.n | currency: event.code }}"),
        document("{% if event.n > 3 %}many{% endif %}"),
    ],
)
def test_apply_accepts_valid_mjml(source: str) -> None:
    assert faults(source) == []


@pytest.mark.parametrize(
    "include",
    [
        "<mj-include path='{}' />",
        "<mj-include path='file://{}' />",
        "<mj-include path='http://127.0.0.1:9/a.mjml' />",
        "<mj-include path='{}' type='html' />",
    ],
)
@pytest.mark.parametrize(
    "place", ["<mjml><mj-head>{}</mj-head></mjml>", "<mjml><mj-body>{}</mj-body></mjml>"]
)
def test_mjml_includes_neither_files_nor_urls(
    include: str, place: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    secret = tmp_path_factory.mktemp("mjml") / "secret.mjml"
    secret.write_text("<mj-text>secret</mj-text>")
    source = place.replace("{}", include.replace("{}", str(secret)))
    assert faults(source) == ["default mjml: mj-include is not supported"]
    with pytest.raises(RenderError, match=r"^default mjml: mj-include is not supported$"):
        render(Template(mjml=source))


def test_an_include_within_a_text_is_not_read() -> None:
    assert faults(document("<mj-include path='a'/>")) == [
        "default mjml: <mj-include> is misspelt or not allowed here"
    ]


def test_mjml_broken_by_data_is_an_error() -> None:
    source = document("{% if event.broken == 'yes' %}<p>{% endif %}")
    assert faults(source) == []
    with pytest.raises(
        RenderError, match=r"^default mjml: unexpected end of stream: an element is not closed"
    ):
        render(Template(mjml=source), event='{"broken": "yes"}')
    with pytest.raises(RenderError, match=r"^default mjml, line 3, column 13: event\.x is undefined$"):
        render(Template(mjml=document("{{ event.x }}")), undefined=STRICT)


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ("<mjml><mj-body>" + "<mj-section>" * 20_000, "more than 800 MJML elements"),
        (document("<div>" * 50_000), "more than 800 MJML elements, or more than 3000 elements of any kind"),
        (document("x" * 300_000), "longer than 256 KiB"),
        (
            "<mjml><mj-body><mj-section><mj-column><mj-carousel>"
            + "<mj-carousel-image src='a'/>" * 790
            + "</mj-carousel></mj-column></mj-section></mj-body></mjml>",
            "the HTML is longer than 1 MiB",
        ),
    ],
    ids=["components", "elements", "length", "html"],
)
def test_mjml_over_a_limit_is_rejected(source: str, fault: str) -> None:
    with little_cpu(), pytest.raises(RenderError, match=fault):
        mjml.to_html(source)


def test_the_deepest_allowed_nesting_is_safe() -> None:
    sections = mjml.MAX_COMPONENTS - 1  # plus the body
    mjml.to_html(
        "<mjml><mj-body>" + "<mj-section>" * sections + "</mj-section>" * sections + "</mj-body></mjml>"
    )
    divs = mjml.MAX_ELEMENTS - 5
    mjml.to_html(document("<div>" * divs + "</div>" * divs))


def test_inlining_styles_is_limited() -> None:
    """Each declaration of an element is compared with its others, in a call that nothing interrupts."""
    style = "*{" + "".join(f"a{number}:b;" for number in range(2000)) + "}"
    head = f'<mj-head><mj-style inline="inline">{style}</mj-style></mj-head>'
    source = document("<p>x</p>" * 200).replace("<mj-body>", f"{head}<mj-body>")
    with pytest.raises(RenderError, match=r"2001 declarations for 207 elements; at most 310 are allowed"):
        mjml.to_html(source)
    assert mjml.to_html(source.replace(' inline="inline"', ""))
