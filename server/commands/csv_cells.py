"""Cells of CSV files that spreadsheets do not take for formulas."""

from __future__ import annotations

import re

from ..domain.wording import printable

__all__ = ["cell", "without_quote"]

_QUOTE = "'"
_FORMULA = re.compile(r"[=@\-\uff1d\uff20\uff0d\uff0b]|\+(?![0-9]+$)")
"""What spreadsheets take for a formula, also in full width (OWASP: CSV injection). Phone numbers are not."""


def cell(text: str) -> str:
    """Return a cell that spreadsheets do not take for a formula."""
    shown = printable(text)
    return f"{_QUOTE}{shown}" if _FORMULA.match(shown) else shown


def without_quote(text: str) -> str:
    """Return the text of which `cell` made this one."""
    return text[1:] if text.startswith(_QUOTE) and _FORMULA.match(text[1:]) else text
