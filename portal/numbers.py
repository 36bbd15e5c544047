"""Numbers in forms."""

from __future__ import annotations

import math

from .forms import Form

__all__ = ["number_in"]

_NOT_A_NUMBER = "Enter a number, such as 20, or leave it empty for the default."


def number_in(form: Form, field: str) -> float | None:
    """Return the number in a field; None if it is empty or, noted in the form, no number."""
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
