"""Filters and output behave as in Shopify's Liquid, where python-liquid or Python differ."""

from __future__ import annotations

import itertools
import re

import pytest
from liquid.exceptions import LiquidError

from server.domain.campaign import Template, Undefined
from server.domain.delivery_errors import RenderError
from server.templates.environment import environment_for, render_text
from server.templates.limits import Budget, Recipient
from tests.kit.cases import each_case
from tests.kit.dispatch import make_campaign
from tests.kit.rendering import DATA, render, shown, template_faults, text_of

TEXT_FILTERS = {
    "append: event.none": "ab",
    "append: event.yes": "abtrue",
    "append: event.no": "abfalse",
    "prepend: event.none": "ab",
    "prepend: event.yes": "trueab",
    "replace: 'a', event.none": "b",
    "replace: 'a', event.yes": "trueb",
    "replace: event.none, '-'": "-a-b-",
    "replace_first: 'a', event.no": "falseb",
    "replace_last: 'b', event.yes": "atrue",
    "replace_last: 'a', 'x'": "xb",
    "remove: event.none": "ab",
    "remove_first: event.no": "ab",
    "remove_last: event.none": "ab",
    "remove_last: 'a'": "b",
    "split: event.none | join: '+'": "a+b",
    "split: event.yes | join": "ab",
    "truncate: 1, event.none": "a",
    "truncatewords: 1, event.none": "ab",
    "default: event.yes": "ab",
    "concat: event.mixed | join: '+'": "ab++true+1+x++false",
}


@each_case("expression", TEXT_FILTERS)
def test_arguments_print_as_text(expression: str) -> None:
    assert shown("{{ event.word | " + expression + " }}") == TEXT_FILTERS[expression]


ONE_VALUE = [
    *("append: ''", "prepend: ''", "downcase", "upcase | downcase", "capitalize | downcase"),
    *("escape", "escape_once", "escapejs", "safe", "strip", "lstrip", "rstrip", "squish"),
    *("strip_html", "strip_newlines", "newline_to_br", "remove: 'z'", "remove_first: 'z'"),
    *("remove_last: 'z'", "replace: 'z', 'y'", "replace_first: 'z', 'y'", "replace_last: 'z', 'y'"),
    *("slice: 0, 9", "split: ' ' | join", "join", "truncate", "truncatewords", "url_decode", "url_encode"),
    *("base64_encode | base64_decode", "base64_url_safe_encode | base64_url_safe_decode", "date: '%Y'"),
    *("datetime", "decimal", "percent", "currency: 'EUR'", "default: event.v, allow_false: true"),
    *("concat: event.l", "reverse", "compact"),
]


@each_case("name", ONE_VALUE)
@each_case(("value", "expected"), [("null", ""), ("true", "true"), ("false", "false")])
def test_nil_and_booleans_print_alike_in_every_filter(name: str, value: str, expected: str) -> None:
    event = f'{{"v": {value}, "l": []}}'
    assert text_of("[{{ event.v | " + name + " }}]", event=event) == f"[{expected}]"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{{ event.mixed }}", "true1xfalse"),
        ("{% echo event.mixed %}", "true1xfalse"),
        ("{{ event.mixed | join: '+' }}", "+true+1+x++false"),
        ("{{ event.object }}", '{"a"=>nil, "b"=>[true, "say \\"x\\""], "c"=>{}}'),
        ("{{ event.mixed | append: '!' }}", '[nil, true, 1, "x", [nil, false]]!'),
        ("{{ (1..3) }} {{ (1..3) | append: '!' }}", "1..3 1..3!"),
        ("{{ event.none }}{{ nothing }}{{ event.yes }}", "true"),
        ('{{ "a\r\nb" }}', "a\nb"),
    ],
)
def test_arrays_and_objects_print_as_in_the_reference(source: str, expected: str) -> None:
    assert shown(source) == expected


def test_a_long_text_of_an_array_is_stopped() -> None:
    double = "{% assign l = event.l %}{% for i in (1..11) %}{% assign l = l | concat: l %}{% endfor %}"
    for output in ("{{ l }}", "{{ l | append: '' }}"):
        with pytest.raises(RenderError, match="too long"):
            text_of(double + output, event=f'{{"l": [{{"k": "{"y" * 1000}"}}]}}')


@each_case(
    ("expression", "expected"),
    [
        ("2.5 | round", "3"),
        ("3.5 | round", "4"),
        ("-2.5 | round", "-3"),
        ("1.005 | round: 2", "1.01"),
        ("'1.005' | round: 2", "1.01"),
        ("-1.005 | round: 2", "-1.01"),
        ("1234 | round: -2", "1200"),
        ("1250 | round: -2", "1300"),
        ("1.5 | round: event.none", "2"),
        ("9007199254740993 | round: 2", "9007199254740993"),
        ("1.5 | round: 999999999", "1.5"),
        ("0.3 | divided_by: 0.1", "3.0"),
        ("-7 | divided_by: 2", "-4"),
        ("-5.5 | modulo: 2", "0.5"),
        ("5.5 | modulo: -2", "-0.5"),
        ("0.1 | plus: 0.2", "0.3"),
        ("'5 apples' | plus: 1", "6"),
        ("' 1.5 ' | times: 2", "3.0"),
        ("'1e5' | plus: 0", "1"),
        ("true | plus: 1", "1"),
        ("1 | plus: true", "1"),
        ("true | abs", "0"),
        ("-1.5 | abs", "1.5"),
        ("event.none | at_least: 3", "3"),
        ("true | at_most: 3", "0"),
        ("'inf' | ceil", "0"),
        ("event.mixed | sum", "1"),
        ("event.rows | sum: 'v'", "1"),
    ],
)
def test_numbers_are_calculated_in_decimal(expression: str, expected: str) -> None:
    assert shown("{{ " + expression + " }}") == expected


@each_case(
    ("expression", "expected"),
    [
        ("rows | sort: 'n' | map: 'n' | join: '+'", "C+a+b++"),
        ("rows | sort_natural: 'n' | map: 'n' | join: '+'", "a+b+C++"),
        ("mixed | sort_natural | join: '+'", "1+false+true+x++"),
        ("rows | map: 'n' | sort | join: '+'", "C+a+b++"),
        ("rows | map: 'n' | compact | join: '+'", "b+a+C"),
        ("rows | compact: 'n' | map: 'n' | join: '+'", "b+a+C"),
        ("rows | map: 'n' | json", '["b", "a", null, null, "C"]'),
        ("rows | map: 'n' | uniq | json", '["b", "a", null, "C"]'),
        ("mixed | sort_natural | compact | size", "4"),
        ("mixed | uniq | json", '[null, true, 1, "x", false]'),
        ("rows | uniq: 'v' | map: 'v' | json", "[1, true, 0, false, null]"),
        ("rows | where: 'v', 1 | map: 'n' | json", '["b"]'),
        ("rows | where: 'v', true | map: 'n' | json", '["a"]'),
        ("rows | where: 'v', false | size", "1"),
        ("rows | where: 'v' | map: 'v' | json", "[1, true, 0]"),
        ("rows | reject: 'v' | map: 'v' | json", "[false, null]"),
        ("rows | reject: 'v', 1 | map: 'v' | json", "[true, 0, false, null]"),
        ("rows | find: 'v', true | json", '{"n": "a", "v": true}'),
        ("rows | find_index: 'v', false", "3"),
        ("rows | has: 'v', true", "true"),
        ("word | split: '' | has: 'v', true", "false"),
    ],
)
def test_arrays_accept_nil_and_do_not_mix_true_and_one(expression: str, expected: str) -> None:
    assert shown("{{ event." + expression + " }}") == expected


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("'a,b,,' | split: ',' | size", "2"),
        ("'one two' | truncatewords: 2", "one two"),
        ("'one two  three' | truncatewords: 2", "one two..."),
        ("'abc' | slice: -9, 8", ""),
        ("'abcdef' | slice: 3, -5", ""),
        ("'abc' | slice: -2, 9", "bc"),
    ],
)
def test_texts_are_split_and_cut_as_in_the_reference(expression: str, expected: str) -> None:
    assert shown("{{ " + expression + " }}") == expected


def test_escape_once_keeps_entities() -> None:
    source = "{{ event.x | escape }} {{ event.x | escape_once }}"
    event = '{"x": "&eacute;&#39;&amp; & \\"\'<&lt;"}'
    expected = (
        "&amp;eacute;&amp;#39;&amp;amp; &amp; &quot;&#39;&lt;&amp;lt; "
        "&eacute;&#39;&amp; &amp; &quot;&#39;&lt;&lt;"
    )
    assert text_of(source, event=event) == expected
    assert render(Template(html=source), event=event).html == expected


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("%%s", "%s"),
        ("%%%s", "%1457967845"),
        ("%s%%s", "1457967845%s"),
        ("%L|%N|%:z|%z", "678|678000000|+00:00|+0000"),
        ("100%%", "100%"),
    ],
)
def test_strftime_directives_of_ruby(pattern: str, expected: str) -> None:
    assert shown("{{ '2016-03-14T15:04:05.678Z' | date: '" + pattern + "' }}") == expected


@pytest.mark.parametrize("written", ["March 14, 2016", "mar 14 2016", "14 March 2016", "14 Mar. 2016"])
def test_a_date_with_an_english_month_is_a_day(written: str) -> None:
    source = "{{ '" + written + "' | date: '%F %T' }} {{ '" + written + "' | datetime }}"
    assert text_of(source, timezone="Asia/Tokyo") == "2016-03-14 00:00:00 Mar 14, 2016"


@pytest.mark.parametrize("written", ["March 2016", "May", "Smarch 14, 2016", "March 34, 2016", "3/14/2016"])
def test_other_words_are_no_date(written: str) -> None:
    assert shown("{{ '" + written + "' | date: '%F' }}") == written


@pytest.mark.parametrize(
    ("expression", "fault"),
    [
        ("date", "`date`: missing a required argument: 'fmt'"),
        ("plus", "`plus`: missing a required argument: 'operand'"),
        ("plus: 1, 2", "`plus`: too many positional arguments"),
        ("append: 'x', 'y'", "`append`: too many positional arguments"),
        ("decimal: place: 2", "`decimal`: got an unexpected keyword argument 'place'"),
        ("truncate: event.no", "expected an integer"),
        ("divided_by: false", "divided_by: the divisor is 0"),
        ("modulo: 0.0", "modulo: the divisor is 0"),
    ],
)
def test_wrong_arguments_are_named(expression: str, fault: str) -> None:
    with pytest.raises(RenderError, match=f"^default text, line 1, column 12: {fault}$"):
        text_of("{{ event | " + expression + " }}", event=DATA)


def test_apply_names_wrong_arguments() -> None:
    source = (
        "{% if true %}{{ event.a | plus }}{% endif %}\n{% assign x = 1 | append: 2, 3 | decimal: place: 2 %}x"
    )
    assert template_faults(make_campaign(templates={"default": Template(text=source)})) == [
        "default text, line 1, column 27: `plus`: missing a required argument: 'operand'",
        "default text, line 2, column 19: `append`: too many positional arguments",
        "default text, line 2, column 34: `decimal`: got an unexpected keyword argument 'place'",
    ]


VALUES = (None, True, False, 0, -2.5, 10**30, "", "a 1", [None, True], [[None]], {"a": None}, [{"k": True}])
PYTHON = re.compile("None|True.|False.|Undefined|range|<class|object at")


@pytest.mark.parametrize("part", ["text", "html"])
def test_no_filter_prints_words_of_python(part: str) -> None:
    environment = environment_for(part, Undefined.EMPTY)
    given: dict[str, list[tuple[object, object]]] = {
        "": [(1, 1)],
        ": a": [(None, 1), (True, 1), (2, 1)],
        ": a, b": [(None, True), (2, None)],
    }
    for name, arguments in itertools.product(environment.filters, given):
        template = environment.from_string("{{ v | " + name + arguments + " }}")
        for v, (a, b) in itertools.product(VALUES, given[arguments]):
            try:
                text = render_text(template, {"v": v, "a": a, "b": b}, Recipient(), Budget(60))
            except LiquidError as error:
                text = str(error.message)
            assert not PYTHON.search(text), template


def test_values_that_have_no_order_are_an_error() -> None:
    with pytest.raises(RenderError, match="sort: the values are of different types"):
        text_of("{{ event.l | sort }}", event='{"l": [1, "secret"]}')


@each_case("source", ["{% break %}", "{% if event.word %}{% continue %}{% endif %}"])
def test_break_needs_a_loop(source: str) -> None:
    with pytest.raises(RenderError, match=r"html: unexpected|html, line 1, column \d+: unexpected"):
        render(Template(html=f"a {source} b"), event=DATA)


def test_partial_is_not_a_variable() -> None:
    assert shown("{{ partial }}") == ""
