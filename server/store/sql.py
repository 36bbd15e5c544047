"""Named SQL statements, read once from the `.sql` files next to the modules that use them.

A file is a sequence of blocks. A block begins with a line `-- name: find_key` for a statement, or
`-- fragment: key_columns` for text that several statements share, and ends where the next one begins.

    -- name: find_key
    SELECT
        -- include: key_columns
    FROM api_key WHERE id = :key_id AND (:project_id::int8 IS NULL OR project_id = :project_id)

A comment `-- include: NAME` is replaced by that fragment, which may include others. A file can include
its own fragments, and those of `fragments.sql`, which several folders share. `:name` is a parameter.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

__all__ = ["Statement", "load"]

_FOLDER = Path(__file__).parent
_SHARED = "fragments.sql"
_BLOCK = re.compile(r"^-- (name|fragment): (\w+)\n", re.MULTILINE)
_INCLUDE = re.compile(r"-- include: (\w+)")
# Strings, comments and casts are matched first, so that a colon in them does not start a parameter.
_PARAMETER = re.compile(r"'[^']*'|--[^\n]*|::|:([a-z]\w*)")


class Statement:
    """One SQL statement with named parameters.

    Call it with a value for each parameter and pass the result to asyncpg: `pool.fetch(*FIND(id=1))`.

    Attributes:
        text: The statement as sent to PostgreSQL, with `$1`, `$2` and so on, and without comments.
        parameters: The names of the parameters; the first is `$1`.
    """

    __slots__ = ("parameters", "text")

    def __init__(self, text: str) -> None:
        numbers: dict[str, int] = {}

        def number(match: re.Match[str]) -> str:
            if match[0].startswith("--"):
                return ""
            name = match[1]
            return f"${numbers.setdefault(name, len(numbers) + 1)}" if name else match[0]

        self.text = _PARAMETER.sub(number, text).strip()
        self.parameters = tuple(numbers)

    def __call__(self, **values: object) -> tuple[str, *tuple[object, ...]]:
        """Return the text, followed by the values in the order of the parameters.

        Raises:
            TypeError: A parameter has no value, or a value has no parameter.
        """
        return (self.text, *self.arguments(**values))

    def arguments(self, **values: object) -> list[object]:
        """Return the values in the order of the parameters, for a prepared statement.

        Raises:
            TypeError: A parameter has no value, or a value has no parameter.
        """
        if len(values) != len(self.parameters) or values.keys() != set(self.parameters):
            raise TypeError(f"the parameters are {', '.join(self.parameters)}; got {', '.join(values)}")
        return [values[name] for name in self.parameters]


def load(file: str, **fragments: str) -> Mapping[str, Statement]:
    """Return the statements of a file by name.

    Args:
        file: The path of the `.sql` file, relative to this folder.
        fragments: Further fragments by name, for text that is derived from a type.

    Raises:
        ValueError: A block is defined twice, or an included fragment is not defined.
    """
    known = dict(fragments)
    statements: dict[str, str] = {}
    for source in (_SHARED, file):
        for kind, name, text in _blocks(source):
            blocks = statements if kind == "name" else known
            if name in blocks:
                raise ValueError(f"{source}: {name!r} is defined twice")
            blocks[name] = text
    return {name: Statement(_include(text, known, file)) for name, text in statements.items()}


def _blocks(file: str) -> list[tuple[str, str, str]]:
    """Return kind, name and text of each block of a file."""
    parts = _BLOCK.split((_FOLDER / file).read_text(encoding="utf-8"))[1:]
    return [(kind, name, text.strip()) for kind, name, text in zip(*[iter(parts)] * 3, strict=True)]


def _include(text: str, fragments: Mapping[str, str], file: str) -> str:
    def fragment(match: re.Match[str]) -> str:
        if match[1] not in fragments:
            raise ValueError(f"{file}: the fragment {match[1]!r} is not defined")
        return _include(fragments[match[1]], fragments, file)

    return _INCLUDE.sub(fragment, text)
