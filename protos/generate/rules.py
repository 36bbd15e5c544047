"""Converts rules of `buf.validate` to JSON Schema keywords and to words.

An unknown rule stops the build; otherwise the schema would silently omit a rule that the server enforces.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.descriptor import FieldDescriptor

from buf.validate import validate_pb2

__all__ = ["Rules", "rules_of"]

FIELD: Any = validate_pb2.field
IN_GENERAL = {"required", "cel", "ignore"}
MATCHES = re.compile(r"this\.matches\('((?:[^'\\]|\\.)*)'\)")
HEX = re.compile(r"\\x(?:\{([0-9a-fA-F]{1,4})\}|([0-9a-fA-F]{2}))")


@dataclass(slots=True)
class Rules:
    """The rules of a field."""

    required: bool = False
    keywords: dict[str, Any] = field(default_factory=dict)
    """JSON Schema keywords."""
    words: list[str] = field(default_factory=list)
    """Markdown phrases, to be joined by commas."""

    def add(self, keyword: str, value: object, words: str) -> None:
        """Add a rule."""
        self.keywords[keyword] = value
        self.words.append(words)


def rules_of(descriptor: FieldDescriptor) -> Rules:
    """Return the rules of a field.

    Raises:
        NotImplementedError: A rule has no conversion in this module.
    """
    given = descriptor.GetOptions().Extensions[FIELD]
    rules = Rules(required=given.required)
    if given.required:
        rules.words.append("required")
        if descriptor.cpp_type == FieldDescriptor.CPPTYPE_STRING:
            rules.keywords["minLength"] = 1
    for kind, value in given.ListFields():
        if kind.name in KINDS:
            _add_all(rules, KINDS[kind.name], value, descriptor)
        elif kind.name not in IN_GENERAL:
            raise _unknown(kind.name, descriptor)
    for cel in given.cel:
        _add_cel(rules, cel)
    return rules


def _add_all(rules: Rules, known: dict[str, Rule], given: Any, descriptor: FieldDescriptor) -> None:
    for kind, value in given.ListFields():
        if kind.name not in known:
            raise _unknown(kind.name, descriptor)
        rules.add(*known[kind.name](value))


def _add_cel(rules: Rules, cel: Any) -> None:
    """Add a CEL rule: its message, and a pattern if it only matches one."""
    rules.words.append(cel.message or f"`{cel.expression}`")
    found = MATCHES.fullmatch(cel.expression.strip())
    if found:
        rules.keywords["pattern"] = _ecma(found[1].replace("\\\\", "\\"))


def _unknown(name: str, descriptor: FieldDescriptor) -> NotImplementedError:
    return NotImplementedError(f"{descriptor.full_name}: the rule {name} is missing in rules.py")


def _ecma(pattern: str) -> str:
    r"""Return an RE2 pattern in the syntax that JavaScript and Python share.

    `\x{9f}` and `\x9f` become `\u009f`, as do invisible characters such as line separators.
    """
    printable = "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in pattern)
    return HEX.sub(lambda found: f"\\u{found[1] or found[2]:0>4}", printable)


def _of_items(given: Any) -> tuple[str, object, str]:
    """Return the rules for the items of a repeated string or integer as one."""
    [(of, rules_given)] = given.ListFields()
    rules = Rules(keywords={"type": "string" if of.name == "string" else "integer"})
    for kind, value in rules_given.ListFields():
        rules.add(*KINDS[of.name][kind.name](value))
    return "items", rules.keywords, f"each {', '.join(rules.words)}"


Rule = Callable[[Any], tuple[str, object, str]]
STRING: dict[str, Rule] = {
    "min_len": lambda least: ("minLength", least, f"at least {least:,} characters"),
    "max_len": lambda most: ("maxLength", most, f"at most {most:,} characters"),
    # No keyword counts bytes. A string never has more characters than bytes.
    "max_bytes": lambda most: ("maxLength", most, f"at most {most:,} bytes"),
    "pattern": lambda pattern: ("pattern", _ecma(pattern), f"matches `{_ecma(pattern)}`"),
    "uuid": lambda _: ("format", "uuid", "a UUID"),
    "in": lambda values: ("enum", [*values], f"one of {', '.join(f'`{one}`' for one in values)}"),
}
NUMBER: dict[str, Rule] = {
    "gt": lambda bound: ("exclusiveMinimum", bound, f"more than {bound:,}"),
    "gte": lambda bound: ("minimum", bound, f"at least {bound:,}"),
    "lt": lambda bound: ("exclusiveMaximum", bound, f"less than {bound:,}"),
    "lte": lambda bound: ("maximum", bound, f"at most {bound:,}"),
    "finite": lambda _: ("type", "number", "finite"),
}
ENUM: dict[str, Rule] = {
    "defined_only": lambda _: ("type", "string", "one of its names"),
}
REPEATED: dict[str, Rule] = {
    "min_items": lambda least: ("minItems", least, f"at least {least:,}"),
    "max_items": lambda most: ("maxItems", most, f"at most {most:,}"),
    "unique": lambda _: ("uniqueItems", True, "none twice"),
    "items": _of_items,
}
KINDS: dict[str, dict[str, Rule]] = {
    "string": STRING,
    "repeated": REPEATED,
    "enum": ENUM,
    **dict.fromkeys(("int32", "int64", "uint32", "uint64", "float", "double"), NUMBER),
}
