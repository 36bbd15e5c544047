"""Variables missing from the trigger: empty, or an error in strict campaigns."""

from __future__ import annotations

import pytest

from server.domain.campaign import Template
from server.domain.delivery_errors import RenderError
from tests.kit.cases import each_case
from tests.kit.dispatch import make_campaign
from tests.kit.rendering import STRICT, render, template_faults, text_of


@each_case(
    ("source", "column", "name"),
    [
        ("{{ event.total }}", 4, "event.total is undefined"),
        ("{{ nothing }}", 4, "'nothing' is undefined"),
        ("{{ event.a.b.c }}", 4, "event.a is undefined"),
        ("{{ user.data.plan }}", 4, "user.data.plan is undefined"),
        ("{{ event.list[7] }}", 4, "event: index out of range"),
        ("{% for i in event.x %}{% endfor %}", 13, "event.x is undefined"),
        ("{{ event.x | upcase }}", 4, "event.x is undefined"),
        ("{{ event.x | times: 2 }}", 4, "event.x is undefined"),
        ("{{ 2 | times: event.x }}", 15, "event.x is undefined"),
        ("{{ event.x | size }}", 4, "event.x is undefined"),
        ("{{ event.x | date: '%d' }}", 4, "event.x is undefined"),
        ("{{ event.x | decimal }}", 4, "event.x is undefined"),
        ("{{ event.x | json }}", 4, "event.x is undefined"),
        ("{{ event.x | default: event.y }}", 23, "event.y is undefined"),
        ("{% assign y = event.x %}{{ y }}", 15, "event.x is undefined"),
        ("{% capture y %}{{ event.x }}{% endcapture %}", 19, "event.x is undefined"),
    ],
)
def test_strict_missing_variables_are_reported(source: str, column: int, name: str) -> None:
    with pytest.raises(RenderError) as caught:
        text_of("\n" + source, event='{"list": [1]}', undefined=STRICT)
    assert str(caught.value) == f"default text, line 2, column {column}: {name}"
    text_of(source + ".")  # otherwise it is empty


@pytest.mark.parametrize("part", ["subject", "html"])
def test_the_part_is_reported(part: str) -> None:
    with pytest.raises(RenderError, match=rf"^default {part}, line 1, column 4: event.x is undefined$"):
        render(Template(**{"text": "x", part: "{{ event.x }}"}), undefined=STRICT)


@each_case(
    ("source", "expected"),
    [
        ("{{ event.x | default: 'y' }}", "y"),
        ("{{ event.x.deep | default: 'y' | upcase }}", "Y"),
        ("{% if event.x %}a{% else %}b{% endif %}", "b"),
        ("{% unless event.x %}a{% endunless %}", "a"),
        ("{% if event.x == 'gold' %}a{% else %}b{% endif %}", "b"),
        ("{% if event.x != nil %}a{% else %}b{% endif %}", "b"),
        ("{% if event.x > 3 %}a{% else %}b{% endif %}", "b"),
        ("{% if event.x contains 'a' or event.y %}a{% else %}b{% endif %}", "b"),
        ("{% case event.x %}{% when 'a' %}a{% else %}b{% endcase %}", "b"),
        ("{% if event.list.size > 0 %}{% for i in event.list %}{{ i }}{% endfor %}{% endif %}.", "1."),
        ("{% assign y = event.x %}unused", "unused"),
        ("[{{ event.none }}{{ user.timezone }}]", "[]"),
    ],
)
def test_strict_templates_may_test_for_missing_variables(source: str, expected: str) -> None:
    event = '{"list": [1], "none": null}'
    assert text_of(source, event=event, undefined=STRICT) == expected
    assert text_of(source, event=event) == expected


def test_apply_checks_strict_campaigns_the_same_way() -> None:
    parts = Template(text="{{ event.x }}{{ a | nope }}", mjml="<mjml><mj-body>{{ event.x }}</mj-body></mjml>")
    faults = template_faults(make_campaign(undefined=STRICT, templates={"default": parts}))
    assert faults == ["default text, line 1, column 21: unknown filter 'nope'"]
