"""The tokens of templates: those of python-liquid, found in linear time."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable

import pytest
from liquid import Token
from liquid.exceptions import LiquidSyntaxError
from liquid.lex import get_lexer

from server.domain.campaign import Campaign, Channel, Template, Undefined
from server.templates.check import MAX_FAULTS, MAX_SOURCE, check_templates
from server.templates.environment import environment_for

_PIECES = (
    *("{{", "}}", "{%", "%}", "{", "}", "%", "-", " ", "\n", "\t", "#", '"', "a", "x y", "if"),
    *("raw", "endraw", "doc", "enddoc", "comment", "endcomment", "{% liquid "),
    *("{% raw %}", "{%- endraw -%}", "{% doc -%}", "{% enddoc %}", "{% comment %}", "{%- endcomment -%}"),
)
_own = environment_for("text", Undefined.EMPTY).tokenizer()


def tokens(tokenize: Callable[[str], Iterable[Token]], source: str) -> list[tuple[str, str] | str]:
    found: list[tuple[str, str] | str] = []
    try:
        found.extend((token.kind, token.value) for token in tokenize(source))
    except LiquidSyntaxError as error:
        found.append(str(error.message))
    return found


def test_tokens_are_those_of_python_liquid() -> None:
    chance = random.Random(5)  # noqa: S311 - not for secrets
    theirs = get_lexer()
    for _ in range(3000):
        source = "".join(chance.choices(_PIECES, k=chance.randint(0, 14)))
        assert tokens(_own, source) == tokens(theirs, source), repr(source)


@pytest.mark.parametrize(
    "source",
    [
        "{" * MAX_SOURCE,
        "{{" + " " * 260_000,
        "{{" + " " * 250_000 + "}}",
        "{% a" + " " * 250_000,
        "{% " + "a" * 250_000,
        "{% raw %}" * 29_000,
        "{% doc %}" * 29_000,
        "{% comment %}" + "{%" * 100_000,
        "{{ " + "(" * 130_000 + " }}",
        "{{ a" + '["a' * 60_000 + " }}",
        "{{ (a }}" * 30_000,
        "{% endif %}" * 20_000,
        "{{ 1 | nofilter }}" * 12_000,
    ],
    ids=lambda source: f"{source[:12]}...",
)
def test_a_check_takes_linear_time(source: str) -> None:
    """A call with one of these once kept a server busy for minutes, in which it accepted no trigger."""
    campaign = Campaign(
        1, 1, "demo", Channel.TEXT, ("sandbox",), templates={"default": Template(text=source)}
    )
    started = time.thread_time()
    assert 0 < len(check_templates(campaign)) <= MAX_FAULTS
    assert time.thread_time() - started < 20  # seconds; it takes at most 3, and took minutes
