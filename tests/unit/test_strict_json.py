"""What the strict JSON reader refuses, what it forgives, and that hostile text does not keep it busy."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.intake.strict_json import (
    MAX_DEPTH,
    JsonError,
    TooDeep,
    blank_below,
    check_depth,
    decode,
    type_name,
    without_trailing_commas,
)
from tests.kit.cases import each_case
from tests.kit.cpu import little_cpu

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@each_case(
    ("text", "problem"),
    [
        ("NaN", "NaN is not a JSON value"),
        ('{"a": [Infinity]}', "Infinity is not a JSON value"),
        ("-Infinity", "-Infinity is not a JSON value"),
        ('{"a": 1, "a": 1}', 'contains the name "a" twice'),
        ('[{"b": {"c": 1, "d": 2, "c": null}}]', 'contains the name "c" twice'),
        (r'{"a": 1, "\u0061": 2}', 'contains the name "a" twice'),
        (r'"\u0000"', "contains the character U[+]0000"),
        (r'{"\u0000": 1}', "contains the character U[+]0000"),
        (r'["\ud800"]', "contains the character U[+]D800"),
        (r'{"a": {"x\udfff": 1}}', "contains the character U[+]DFFF"),
        (r'"\udc00\ud800"', "contains the character U[+]DC00"),
        ("1e999", "a number beyond 1.8e308"),
        ("[-1e999]", "a number beyond 1.8e308"),
        ("9" * 5000, "a number of 5000 digits"),
        ("", "expecting value at line 1, column 1"),
        ("\ufeff{}", r"starts with a byte order mark \(U\+FEFF\); send it without"),
        ('{"a":\n 1', "at line 2, column 3"),
        ("{'a': 1}", "not valid JSON"),
        ('"a\nb"', "invalid control character at line 1, column 3"),
        ('{"a": "b', "unterminated string starting at line 1, column 7"),
        ('{"a": "b', "ends too early"),
        ('{"a": 1, ', "ends too early: expecting property name"),
        ('{"a":', "ends too early: expecting value"),
        ('{"a"', "ends too early"),
        ('[{"a": [1', "ends too early"),
        ("[1] 2", "extra data"),
        ("\u00a0{}", "not valid JSON"),
        ("01", "not valid JSON"),
    ],
)
def test_what_is_no_strict_json_is_refused_with_its_reason(text: str, problem: str) -> None:
    with pytest.raises(JsonError, match=problem):
        decode(text)


def test_whole_surrogate_pairs_are_characters() -> None:
    assert decode(r'{"\ud83d\ude00": "\ud83d\ude00"}') == {"\U0001f600": "\U0001f600"}


def test_large_numbers_that_can_be_held_are_kept() -> None:
    assert decode("[9223372036854775808, 1e308]") == [9223372036854775808, 1e308]


def test_the_depth_ends_exactly_at_the_limit() -> None:
    assert decode("[" * MAX_DEPTH + "]" * MAX_DEPTH)
    with pytest.raises(TooDeep, match=f"nested deeper than {MAX_DEPTH} levels"):
        decode("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1))
    with pytest.raises(JsonError, match="nested deeper than 1 levels"):
        decode('{"a": {}}', depth=1)


def test_breadth_is_not_depth() -> None:
    assert len(decode("[" + ",".join(["{}"] * 1000) + "]")) == 1000


def test_brackets_in_strings_do_not_count() -> None:
    text = json.dumps({"a": '\\"' + "[{" * 1000, "[[[" * 50: ["]}"]})
    assert decode(text, depth=2) == json.loads(text)


@pytest.mark.parametrize("opening", ["[", '{"a":', '[{"a":'])
def test_ten_thousand_levels_are_refused_at_once(opening: str) -> None:
    with little_cpu(1), pytest.raises(JsonError, match="nested deeper"):
        decode(opening * 10_000)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a": [1, 2]}', '{"a": [    ]}'),
        ('{"a": [[1], {"b": "]"}], "c": 1}', '{"a": [               ], "c": 1}'),
        ('{"a": "[[[", "b": 1}', '{"a": "[[[", "b": 1}'),
        ('{"a": [[1', '{"a": ['),
        ("[]]]]", "[]]]]"),
    ],
)
def test_deep_values_are_blanked_and_others_stay(text: str, expected: str) -> None:
    assert blank_below(text, 2) == expected


@given(JSON, st.integers(1, 5))
def test_blanked_text_keeps_its_length_and_maximum_depth(value: object, most: int) -> None:
    text = json.dumps(value, ensure_ascii=False)
    blank = blank_below(text, most)
    assert len(blank) == len(text)
    check_depth(blank, most)
    json.loads(blank)


def test_a_name_that_may_be_an_address_is_not_repeated() -> None:
    for name in ("a@b.co", "+12345678900", "x" * 64):
        with pytest.raises(JsonError, match="contains a name twice in one object"):
            decode(f'{{"{name}": 1, "{name}": 2}}')


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a": 1,}', '{"a": 1}'),
        ("[1,2 , \r\n\t]", "[1,2  \r\n\t]"),
        ('["a,]", ",}",]', '["a,]", ",}"]'),
        (r'["\",]",]', r'["\",]"]'),
        ("[1,,]", "[1,]"),
        ("[,]", "[,]"),
        ("{ ,}", "{ ,}"),
        ('["unfinished,]', '["unfinished,]'),
        ('["unfinished,]\\', '["unfinished,]\\'),
    ],
)
def test_only_commas_that_trail_a_value_are_removed(text: str, expected: str) -> None:
    assert without_trailing_commas(text) == expected


@given(JSON)
def test_text_without_trailing_commas_is_left_as_it_is(value: object) -> None:
    text = json.dumps(value, ensure_ascii=False)
    assert without_trailing_commas(text) == text


@given(JSON, st.sampled_from([",", " ,", ",\n  ", "\t,\r\n"]))
def test_trailing_commas_anywhere_do_not_change_the_value(value: object, comma: str) -> None:
    assert json.loads(without_trailing_commas(_dump(value, comma))) == value


def _dump(value: object, comma: str) -> str:
    """Write JSON with a trailing comma in each array and object that is not empty."""
    if isinstance(value, list) and value:
        return "[" + ",".join(_dump(one, comma) for one in value) + comma + "]"
    if isinstance(value, dict) and value:
        members = (f"{json.dumps(name)}:{_dump(one, comma)}" for name, one in value.items())
        return "{" + ",".join(members) + comma + "}"
    return json.dumps(value)


@each_case(
    "unit", ['"', "\\", ",", '\\"', '",', ", ", '["\\', "[ ", "{ ,", ',"', "]", '"\\\\', ",\n", '[",]']
)
def test_hostile_text_takes_linear_time(unit: str) -> None:
    for text in (unit * (65_536 // len(unit)), '["' + unit * (65_536 // len(unit))):
        with little_cpu(1):
            without_trailing_commas(text)
            with pytest.raises(JsonError):
                decode(text)


def test_duplicate_name_is_found_in_linear_time() -> None:
    text = "{" + ",".join(f'"n{number}":1' for number in range(50_000)) + ',"n49999":1}'
    # Comparing each name with all others takes many seconds.
    with little_cpu(1), pytest.raises(JsonError, match='contains the name "n49999" twice'):
        decode(text)


def test_types_have_the_names_that_json_gives_them() -> None:
    values: list[object] = [None, True, 1, 1.5, "", [], {}]
    named = [type_name(value) for value in values]
    assert named == ["null", "a boolean", "a number", "a number", "a string", "an array", "an object"]
