"""Filters for text. Their input and arguments print as in Liquid's reference: `nil` as nothing.

Most are python-liquid's. Those that differ from the reference there are defined here: `escape` and
`escape_once` use other entities, `remove_last` and `replace_last` miss a match at the start, `slice` accepts
positions before the start, `split` keeps empty items at the end, `truncatewords` marks a text with exactly
the number of words, and `true` is a length.
"""

from __future__ import annotations

import functools
import re
from typing import Any

from liquid import Environment
from liquid.builtin.filters import extra, string
from liquid.exceptions import FilterArgumentError, ResourceLimitError
from liquid.filter import with_environment
from liquid.limits import to_int
from markupsafe import Markup

from .filter_limits import Filter
from .limits import MAX_OUTPUT
from .values import is_missing, text_of

__all__ = ["FILTERS"]


_ENTITIES = {"&": "&amp;", ">": "&gt;", "<": "&lt;", '"': "&quot;", "'": "&#39;"}
_SPECIAL = re.compile("[&><\"']")
_SPECIAL_ONCE = re.compile("[><\"']|&(?!(?:[a-zA-Z]+|#[0-9]+);)")


def _for_text(func: Filter) -> Filter:
    """Wrap one of python-liquid's filters so that its input and its arguments are text."""

    @functools.wraps(func)
    def call(value: Any, *args: Any, **options: Any) -> Any:
        return func(text_of(value), *map(text_of, args), **options)

    return call


def _integer(value: Any) -> int:
    if isinstance(value, int | str) and not isinstance(value, bool):
        try:
            return to_int(value)
        except ValueError:
            pass
    raise FilterArgumentError("expected an integer", token=None)


@with_environment
def escape(value: Any, *, environment: Environment) -> str:
    """Escape a text for HTML."""
    return _marked(_SPECIAL.sub(_entity, text_of(value)), environment)


@with_environment
def escape_once(value: Any, *, environment: Environment) -> str:
    """Escape a text for HTML, except entities in it."""
    return _marked(_SPECIAL_ONCE.sub(_entity, text_of(value)), environment)


def _entity(found: re.Match[str]) -> str:
    return _ENTITIES[found[0]]


def _marked(escaped: str, environment: Environment) -> str:
    return Markup(escaped) if environment.autoescape else escaped  # noqa: S704 - it is escaped


def remove_last(value: Any, removed: Any) -> str:
    """Remove the last occurrence of a text."""
    return _replaced_last(text_of(value), text_of(removed), "")


def replace(value: Any, replaced: Any, replacement: Any = "") -> str:
    """Replace all occurrences of a text."""
    text, old, new = text_of(value), text_of(replaced), text_of(replacement)
    if text.count(old) * len(new) > MAX_OUTPUT:
        raise ResourceLimitError("the result of `replace` is too long", token=None)
    return text.replace(old, new)


def replace_last(value: Any, replaced: Any, replacement: Any) -> str:
    """Replace the last occurrence of a text."""
    return _replaced_last(text_of(value), text_of(replaced), text_of(replacement))


def _replaced_last(text: str, old: str, new: str) -> str:
    if not old:
        return text + new
    before, found, after = text.rpartition(old)
    return before + new + after if found else text


def slice_(value: Any, start: Any, length: Any = 1) -> Any:
    """Return part of a text or array; a negative start counts from its end."""
    sequence = value if isinstance(value, str | list | tuple | range) else text_of(value)
    first, count = _integer(start), 1 if is_missing(length) else _integer(length)
    if first < 0:
        first += len(sequence)
    outside = first < 0 or count < 0
    part = sequence[:0] if outside else sequence[first : first + count]
    return part if isinstance(part, str) else list(part)


def split(value: Any, separator: Any) -> list[str]:
    """Return the parts of a text, without empty ones at its end. A space separates by any white space."""
    text, between = text_of(value), text_of(separator)
    if not between:
        return list(text)
    parts = text.split(None if between == " " else between)
    while parts and not parts[-1]:
        parts.pop()
    return parts


def truncate(value: Any, length: Any = 50, end: Any = "...") -> str:
    """Shorten a text to a number of characters, including the mark at its end."""
    text, most, mark = text_of(value), _integer(length), text_of(end)
    return text if len(text) <= most else text[: max(most - len(mark), 0)] + mark


def truncatewords(value: Any, count: Any = 15, end: Any = "...") -> str:
    """Shorten a text to a number of words, at least one."""
    text, most = text_of(value), max(_integer(count), 1)
    words = text.split(maxsplit=most) if most < len(text) else []
    return " ".join(words[:most]) + text_of(end) if len(words) > most else text


FILTERS: dict[str, Filter] = {
    "append": _for_text(string.append),
    "base64_decode": _for_text(string.base64_decode),
    "base64_encode": _for_text(string.base64_encode),
    "base64_url_safe_decode": _for_text(string.base64_url_safe_decode),
    "base64_url_safe_encode": _for_text(string.base64_url_safe_encode),
    "capitalize": _for_text(string.capitalize),
    "downcase": _for_text(string.downcase),
    "escape": escape,
    "escape_once": escape_once,
    "escapejs": _for_text(extra.escapejs),
    "lstrip": _for_text(string.lstrip),
    "newline_to_br": _for_text(string.newline_to_br),
    "prepend": _for_text(string.prepend),
    "remove": _for_text(string.remove),
    "remove_first": _for_text(string.remove_first),
    "remove_last": remove_last,
    "replace": replace,
    "replace_first": _for_text(string.replace_first),
    "replace_last": replace_last,
    "rstrip": _for_text(string.rstrip),
    "safe": _for_text(extra.safe),
    "slice": slice_,
    "split": split,
    "squish": _for_text(string.squish),
    "strip": _for_text(string.strip),
    "strip_html": _for_text(string.strip_html),
    "strip_newlines": _for_text(string.strip_newlines),
    "truncate": truncate,
    "truncatewords": truncatewords,
    "upcase": _for_text(string.upcase),
    "url_decode": _for_text(string.url_decode),
    "url_encode": _for_text(string.url_encode),
}
