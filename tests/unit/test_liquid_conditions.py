"""Conditions compare as in Shopify's Liquid, where python-liquid or Python differ."""

from __future__ import annotations

import pytest

from server.domain.delivery_errors import RenderError
from tests.kit.rendering import DATA, shown, text_of


@pytest.mark.parametrize("blank", ["event.none", "event.no", "nothing", "''", "' \n'", "event.object.c"])
def test_blank_is_nil_false_and_empty(blank: str) -> None:
    branches = "%}yes{% else %}no{% endif %}"
    assert shown("{% if " + blank + " == blank " + branches) == "yes"
    assert shown("{% if blank == " + blank + " " + branches) == "yes"
    assert shown("{% if " + blank + " != blank or false " + branches) == "no"
    assert shown("{% if false %}{% elsif " + blank + " == blank and true " + branches) == "yes"
    assert shown("{% unless " + blank + " != blank %}yes{% endunless %}") == "yes"
    assert shown("{% case " + blank + " %}{% when 'x', blank %}yes{% else %}no{% endcase %}") == "yes"


@pytest.mark.parametrize("value", ["event.yes", "0", "'x'", "event.mixed", "event.object", "(1..2)"])
def test_other_values_are_not_blank(value: str) -> None:
    assert shown("{% if " + value + " == blank %}yes{% else %}no{% endif %}") == "no"
    assert shown("{% case " + value + " %}{% when blank %}yes{% else %}no{% endcase %}") == "no"


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("event.mixed contains true", "yes"),
        ("event.mixed contains 1", "yes"),
        ("event.mixed contains 0", "no"),
        ("'is true' contains true", "yes"),
        ("event.object contains 'a'", "yes"),
        ("event.object contains event.mixed", "no"),
        ("event.object contains true", "no"),
        ("(1..2) contains 2", "yes"),
        ("(1..2) contains true", "no"),
        ("event.none contains 'a'", "no"),
        ("event.one == true", "no"),
    ],
)
def test_contains_does_not_mix_true_and_one(condition: str, expected: str) -> None:
    assert shown("{% if " + condition + " %}yes{% else %}no{% endif %}") == expected


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("1 < 2", "yes"),
        ("2.5 >= 2", "yes"),
        ("'a' < 'b'", "yes"),
        ("true < 2", "no"),
        ("0 < true", "no"),
        ("event.yes >= event.yes", "no"),
        ("event.none < 1", "no"),
        ("1 > nothing", "no"),
        ("event.mixed <= event.mixed", "no"),
        ("event.object < 1", "no"),
    ],
)
def test_only_numbers_and_texts_have_an_order(condition: str, expected: str) -> None:
    assert shown("{% if " + condition + " %}yes{% else %}no{% endif %}") == expected


def test_a_text_and_a_number_have_no_order() -> None:
    with pytest.raises(RenderError, match="line 1, column 18: a text and a number cannot be compared"):
        text_of("{% if event.word > 1 %}x{% endif %}", event=DATA)
