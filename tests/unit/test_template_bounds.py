"""Limits of templates on time and memory. For loops and long results, see test_rendering.py."""

from __future__ import annotations

import itertools
import time
from types import SimpleNamespace

import pytest
from liquid.exceptions import ResourceLimitError

from server.domain.campaign import Template
from server.domain.delivery_errors import RenderError
from server.templates.limits import MAX_OUTPUT, Budget
from tests.kit.cases import each_case
from tests.kit.cpu import little_cpu
from tests.kit.rendering import render, text_of

SLOW = {
    "if": "{% for i in (1..9999) %}" + "{% if a %}{% endif %}" * 300 + "{% endfor %}x",
    "increment": "{% for i in (1..9999) %}" + "{% increment n %}{% decrement n %}" * 150 + "{% endfor %}",
    "tablerow": "{% tablerow i in (1..4000) %}" + "{% if a %}{% endif %}" * 300 + "{% endtablerow %}",
    "filters": "{{ event.long | split: '' | sort | join: '' | size }}" * 200,
    "contains": "{% if event.long contains event.other %}x{% endif %}" * 4000,
}


@pytest.mark.parametrize("source", SLOW.values(), ids=SLOW)
def test_a_slow_template_is_stopped(source: str) -> None:
    event = f'{{"long": "{"ab" * 50_000}", "other": "{"ab" * 40_000}c"}}'
    too_long = r"^default text, line 2, .*: takes too long: more than 50 ms of CPU; .*$"
    with little_cpu(5), pytest.raises(RenderError, match=too_long):  # parsing takes most of it
        render(Template(text="\n" + source), event=event, seconds=0.05)


def test_all_parts_share_the_time_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = "{% for i in (1..9000) %}{{ i | plus: 1 | minus: 1 | times: 3 }} {% endfor %}"
    # By a clock that counts its readings, as each part takes as many: a real one differs by the machine.
    readings = itertools.count()
    clock = SimpleNamespace(
        thread_time=readings.__next__, monotonic=itertools.count(step=1_000_000_000).__next__
    )
    monkeypatch.setattr("server.templates.limits.time", clock)
    render(Template(text=slow), seconds=1_000_000)
    once = next(readings)
    with pytest.raises(RenderError, match=r"^default text, .*: takes too long"):
        render(Template(subject=slow, text=slow, html=slow), seconds=once * 1.5)


def test_mjml_counts_toward_the_time_limit() -> None:
    """Its conversion cannot be interrupted, but the message is rejected after it."""
    images = '<mj-carousel-image src="https://a.example/b.png" />' * 120
    column = f"<mj-column><mj-carousel>{images}</mj-carousel></mj-column>"
    template = Template(mjml=f"<mjml><mj-body><mj-section>{column}</mj-section></mj-body></mjml>")
    begin = time.thread_time()
    render(template, seconds=10)
    once = time.thread_time() - begin
    with pytest.raises(RenderError, match=r"^default mjml.*: takes too long"):
        render(template, seconds=once / 3)


def test_only_cpu_time_counts() -> None:
    budget, begin = Budget(0.05), time.thread_time()
    time.sleep(0.1)
    budget.check()
    while time.thread_time() - begin < 0.1:
        pass
    with pytest.raises(ResourceLimitError, match="takes too long"):
        budget.check()


def test_uniq_is_fast_for_a_long_list() -> None:
    event = f'{{"n": {list(range(30_000))}}}'
    assert text_of("{{ event.n | uniq | size }}", event=event) == "30000"


def test_uniq_compares_by_value_and_by_member() -> None:
    event = '{"l": [1, 2, 1, "1", [1], [1], {"a": 1}, {"a": 1}], "d": [{"k": 1}, {"k": 1}, {"x": 1}, {}]}'
    assert text_of("{{ event.l | uniq | json }}", event=event) == '[1, 2, "1", {"a": 1}]'
    assert text_of("{{ event.d | uniq: 'k' | json }}", event=event) == '[{"k": 1}, {"x": 1}]'
    assert text_of("{{ event.missing | uniq | size }}") == "0"


@pytest.mark.parametrize("part", ["text", "html"])
def test_a_part_is_limited_to_one_mebibyte(part: str) -> None:
    event = f'{{"x": "{"é" * 1024}"}}'
    fill = "{% for i in (1..511) %}{{ event.x }}{% endfor %}" + "x" * 2048
    message = render(Template(**{part: fill}), event=event)
    assert len(getattr(message, part).encode()) == MAX_OUTPUT
    with pytest.raises(RenderError, match=rf"^default {part}, line 1, column \d+: longer than 1 MiB$"):
        render(Template(**{part: fill + "y"}), event=event)


def test_variables_are_limited_to_one_mebibyte() -> None:
    names = [f"v{number}" for number in range(12)]
    source = "".join(f"{{% capture {name} %}}{{{{ event.x }}}}{{% endcapture %}}" for name in names)
    event = f'{{"x": "{"y" * 100_000}"}}'
    with pytest.raises(RenderError, match="its variables take more than 1 MiB"):
        text_of(source, event=event)


@each_case(
    "expression",
    [
        *("join", "sort_natural", "sort_natural: 'k'", "uniq", "uniq: 'k'", "json", "json: 2", "append: ''"),
        *("replace: 'y', 'z'", "date: '%s'", "datetime", "upcase"),
    ],
)
def test_the_text_of_repeated_objects_is_limited(expression: str) -> None:
    double = "{% assign l = event.l %}{% for i in (1..16) %}{% assign l = l | concat: l %}{% endfor %}\n"
    event = f'{{"l": [{{"k": {{"x": "{"y" * 50_000}"}}}}]}}'
    with little_cpu(), pytest.raises(RenderError, match=r"^default text, line 2, column \d+: .* too long$"):
        text_of(double + "{{ l | " + expression + " | size }}", event=event)


@pytest.mark.parametrize("text", ["{}", "{}.5", "0.{}", "-{} apples"])
def test_the_digits_of_numbers_are_limited(text: str) -> None:
    event = f'{{"x": "{text.format("9" * 1_000_000)}"}}'
    with little_cpu(), pytest.raises(RenderError, match="a number has more than 4300 digits"):
        text_of("{{ event.x | ceil }}", event=event)


def test_a_format_of_dates_is_limited() -> None:
    source = "{{ 'now' | date: event.long }}"
    with pytest.raises(RenderError, match="date: the format is longer than 1000 characters"):
        text_of(source, event=f'{{"long": "{"%99999d" * 200}"}}')


def test_indented_json_is_limited() -> None:
    deep = "[" * 30 + ",".join("1" for _ in range(6000)) + "]" * 30
    event = f'{{"deep": {deep}, "wide": 2000000000, "small": [1, {{"a": null}}]}}'
    assert text_of("{{ event.small | json: 2 }}", event=event).splitlines()[1:3] == ["  1,", "  {"]
    with pytest.raises(RenderError, match=r"^default text, line 1, .*: the result of `json` is too long$"):
        text_of("{{ event.deep | json: 8 }}", event=event)
    with pytest.raises(RenderError, match="the indent must be from 0 to 8"):
        text_of("{{ event.small | json: event.wide }}", event=event)


@pytest.mark.parametrize(
    "expression", ["'a' | base64_decode", "'a' | base64_url_safe_decode", "'abcd' | base64_decode"]
)
def test_a_failing_filter_is_reported_with_its_position(expression: str) -> None:
    with pytest.raises(RenderError) as caught:
        text_of("\n{{ " + expression + " }}")
    assert str(caught.value).startswith("default text, line 2, column ")
