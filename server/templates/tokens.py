"""Splits a template's source into tokens in linear time.

The regular expression of python-liquid backtracks: `{{` and 200,000 spaces, or 100,000 braces, keep it busy
for hours, during which the process does nothing else. The expressions here match the same texts without
backtracking.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from liquid.exceptions import LiquidSyntaxError
from liquid.token import TOKEN_EXPRESSION, Token

__all__ = ["TemplateRules"]


def _inside(end: str) -> str:
    """Return an expression for all text before the end of a tag, without the space before the end."""
    return rf"(?:(?!-?{end})\S|\s+(?!-?{end}|\s))*"


def _block(name: str, text: str, opening: str, closing: str) -> re.Pattern[str]:
    """Return an expression for a block whose content is not parsed."""
    start, end = rf"\{{%-?\s*+{text}\s*+(?P<{opening}>-?)%\}}", _end_of(text, closing)
    return re.compile(rf"(?P<{name}>{start}(?P<{text}>.*?){end})", re.DOTALL)


def _end_of(text: str, closing: str) -> str:
    return rf"\{{%-?\s*+end{text}\s*+(?P<{closing}>-?)%\}}"


# The groups have the names that python-liquid's tokenizer reads.
_BLOCKS: Final = (
    (_block("RAW", "raw", "rsr", "rsr_e"), re.compile(_end_of("raw", "rsr_e"))),
    (_block("DOC", "doc", "lsd", "rsd"), re.compile(_end_of("doc", "rsd"))),
)
_OUTPUT: Final = re.compile(
    r"(?P<output>\{\{-?\s*+(?P<stmt>" + _inside("}}") + r")\s*+(?P<rss>-?)\}\})", re.DOTALL
)
_TAG: Final = re.compile(
    r"(?P<TAG>\{%-?\s*+(?P<name>#|\w++)\s*+(?P<expr>" + _inside("%}") + r")\s*+(?P<rst>-?)%\})", re.DOTALL
)
_CONTENT: Final = re.compile(r"(?P<content>.+?(?=((\{%|\{\{)(?P<rstrip>-?))|$))", re.DOTALL)
_MAX_BRACKETS: Final = 500
"""Maximum in one tag. From each, python-liquid may search the whole tag for the end of a range or name."""
_BRACKET: Final = re.compile(r"[(\[]")


class TemplateRules:
    """Finds the tokens of a template. Replaces the regular expression of python-liquid's tokenizer."""

    def finditer(self, source: str) -> Iterator[re.Match[str]]:
        """Yield a match for each token.

        An expression is only tried if its end delimiter occurs later, so that no text is searched twice.

        Raises:
            LiquidSyntaxError: A tag has too many brackets.
        """
        ends = _Ends(source)
        position = 0
        while position < len(source) and (found := _token(source, position, ends)):
            yield found
            position = found.end()


class _Ends:
    """Where the last end of each kind of token begins; -1 if there is none."""

    def __init__(self, source: str) -> None:
        self.blocks = [(block, _last(end, source)) for block, end in _BLOCKS]
        self.output = source.rfind("}}")
        self.tag = source.rfind("%}")


def _token(source: str, position: int, ends: _Ends) -> re.Match[str] | None:
    """Return the token at a position; None only for a line break at the end, as in python-liquid."""
    found = None
    if source.startswith("{%", position):
        for block, last in ends.blocks:
            found = found or (block.match(source, position) if position < last else None)
        found = found or (_checked(_TAG.match(source, position), "expr") if position < ends.tag else None)
    elif source.startswith("{{", position) and position < ends.output:
        found = _checked(_OUTPUT.match(source, position), "stmt")
    return found or _CONTENT.match(source, position)


def _checked(found: re.Match[str] | None, group: str) -> re.Match[str] | None:
    if found and len(found[group]) > _MAX_BRACKETS and len(_BRACKET.findall(found[group])) > _MAX_BRACKETS:
        token = Token(TOKEN_EXPRESSION, found[group], found.start(group), found.string)
        raise LiquidSyntaxError(f"more than {_MAX_BRACKETS} brackets in one tag", token=token)
    return found


def _last(end: re.Pattern[str], source: str) -> int:
    return max((found.start() for found in end.finditer(source)), default=-1)
