"""The fields of forms for the rate limit of a key or a project."""

from __future__ import annotations

from typing import Any

from .forms import Form
from .numbers import number_in, whole_number

__all__ = ["limit_texts", "read_limit"]

_NOT_WHOLE = "Enter a whole number, such as 20, or leave it empty for the default."


def limit_texts(limited: Any) -> dict[str, str]:
    """Return what the fields show for a message; an absent value is the default of the installation."""
    return {
        name: f"{getattr(limited, name):.15g}" if limited.HasField(name) else ""
        for name in ("requests_per_second", "burst")
    }


def read_limit(form: Form, request: Any) -> None:
    """Copy the fields to a request; note in the form which of them are not numbers."""
    rate = number_in(form, "requests_per_second")
    if rate is not None:
        request.requests_per_second = rate
    if form["burst"]:
        burst = whole_number(form["burst"])
        if burst is None:
            form.fail("burst", _NOT_WHOLE)
        else:
            request.burst = burst
