"""Reads the rows of a CSV file of suppressions, and adds them."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from clarion.admin.v1 import suppression_pb2 as pb

from ..errors import ConfigError, RequestError, Violation
from .csv_cells import without_quote
from .remote import Admin

__all__ = ["add_rows", "describe", "read_rows"]

_AT_ONCE = 1000
_MAX_PROBLEMS, _MAX_SHOWN = 20, 100
Rows: TypeAlias = Mapping[tuple[str, str], Sequence[tuple[int, str]]]
"""The lines and addresses of a file, by channel and reason."""


def read_rows(file: Path, reason: str) -> Rows:
    """Return the rows of a file.

    Args:
        file: CSV with the columns channel, address and, optionally, reason.
        reason: The reason of rows that have none.

    Raises:
        ConfigError: The file is not CSV in UTF-8, or lacks a column or a value.
    """
    try:
        reader = csv.DictReader(io.StringIO(file.read_text(encoding="utf-8-sig")), strict=True)
        rows = [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{file} is not a CSV file in UTF-8: {error}") from error
    missing = [one for one in ("channel", "address") if one not in (reader.fieldnames or ())]
    if missing:
        raise ConfigError(f"{file}: the first line must name the columns; {' and '.join(missing)} missing")
    groups: dict[tuple[str, str], list[tuple[int, str]]] = {}
    problems: list[tuple[int, str]] = []
    for line, row in rows:
        channel, address = row["channel"], row["address"]
        if not channel or not address:
            problems.append((line, f"{'address' if channel else 'channel'} is missing"))
            continue
        groups.setdefault((channel, row.get("reason") or reason), []).append((line, without_quote(address)))
    if problems:
        raise ConfigError(f"{file}: {describe(problems)}")
    return groups


async def add_rows(admin: Admin, project: str, groups: Rows) -> tuple[int, list[tuple[int, str]]]:
    """Suppress recipients; return how many were added, and what is wrong with which lines."""
    added = 0
    problems: list[tuple[int, str]] = []
    async with admin.opened() as client:
        for (channel, why), rows in groups.items():
            for start in range(0, len(rows), _AT_ONCE):
                part = rows[start : start + _AT_ONCE]
                request = pb.AddSuppressionsRequest(
                    project=project, channel=channel, addresses=[one for _, one in part], reason=why
                )
                try:
                    added += (await client.call("suppressions", "AddSuppressions", request)).added
                except RequestError as error:
                    if not error.violations or any(one.field == "project" for one in error.violations):
                        raise
                    problems.extend(_in_file(one, request, part) for one in error.violations)
    return added, problems


def describe(problems: Sequence[tuple[int, str]]) -> str:
    """Return what is wrong with which lines, in the order of the file; the first 20."""
    more = len(problems) - _MAX_PROBLEMS
    lines = [f"line {line}: {text}" for line, text in sorted(problems)[:_MAX_PROBLEMS]]
    return "\n".join(["invalid rows", *lines, *([f"and {more} more"] if more > 0 else [])])


def _in_file(
    violation: Violation, request: pb.AddSuppressionsRequest, part: Sequence[tuple[int, str]]
) -> tuple[int, str]:
    """Return what is wrong with a row as what is wrong with a line of the file."""
    name, _, rest = violation.field.partition("[")
    line, address = part[int(rest.partition("]")[0] or 0)]
    value = address if name == "addresses" else str(getattr(request, name))
    shown = value if len(value) <= _MAX_SHOWN else f"{value[:_MAX_SHOWN]}…"
    return line, f'{name.removesuffix("es")} "{shown}": {violation.description}'
