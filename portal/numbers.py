"""Numbers in forms."""

from __future__ import annotations

import math

from .forms import Form

__all__ = ["number_in", "whole_number"]

_NOT_A_NUMBER = "Enter a number, such as 20, or leave it empty for the default."


def whole_number(text: str, most: int = 2**31 - 1) -> int | None:
    """Return the number that a text consists of; None if it is anything else, or larger than `most`."""
    # Checked first, because `int` raises for thousands of digits, and accepts the digits of other scripts.
    is_short = text.isascii() and text.isdecimal() and len(text) <= len(str(most))
    return number if is_short and (number := int(text)) <= most else None


def number_in(form: Form, field: str) -> float | None:
    """Return the number in a field; None if it is empty, or not a number, which the form then reports."""
    if not form[field]:
        return None
    try:
        number = float(form[field])
    except ValueError:
        number = math.nan
    if not math.isfinite(number) or abs(number) >= 2**31:
        form.fail(field, _NOT_A_NUMBER)
        return None
    return number
