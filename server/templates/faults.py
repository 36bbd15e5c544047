"""What is wrong with a template, and where."""

from __future__ import annotations

from dataclasses import dataclass

from liquid.exceptions import (
    FilterItemTypeError,
    LiquidError,
    LocalNamespaceLimitError,
    OutputStreamLimitError,
)

from ..domain.delivery_errors import RenderError
from .limits import MAX_OUTPUT, MAX_VARIABLES

__all__ = ["UNSUBSCRIBE", "PartError", "TemplateFault", "fault_of"]

UNSUBSCRIBE = "unsubscribe_url"
"""The part that is a field of the campaign. All other parts are fields of its templates."""


@dataclass(frozen=True, slots=True)
class TemplateFault:
    """A fault of a campaign's template.

    Attributes:
        locale: The locale of the template.
        part: The field of the template that has the fault, or `unsubscribe_url`.
        cause: What is wrong, without data of the user.
        position: Such as `line 2, column 7`; empty if it is not known.
    """

    locale: str
    part: str
    cause: str
    position: str = ""

    @property
    def problem(self) -> str:
        """Its position and cause, for a reader who sees which part it is."""
        return f"{self.position}: {self.cause}" if self.position else self.cause

    def __str__(self) -> str:
        """Return all of it, such as `pt-br subject, line 2, column 7: unexpected tag`."""
        label = self.part if self.part == UNSUBSCRIBE else f"{self.locale} {self.part}"
        return f"{label}{', ' if self.position else ': '}{self.problem}"


class PartError(RenderError):
    """A part of a template could not be rendered."""

    def __init__(self, fault: TemplateFault) -> None:
        super().__init__(str(fault))
        self.fault = fault


def fault_of(locale: str, part: str, error: LiquidError) -> TemplateFault:
    """Return the fault that an error of Liquid describes."""
    return TemplateFault(locale, part, _cause(error), _position(error))


def _cause(error: LiquidError) -> str:
    match error:
        case FilterItemTypeError():
            return "an item of the array has no such property"
        case OutputStreamLimitError():
            return f"longer than {MAX_OUTPUT >> 20} MiB"
        case LocalNamespaceLimitError():
            return f"its variables take more than {MAX_VARIABLES >> 20} MiB"
    return str(error.message)


def _position(error: LiquidError) -> str:
    """Return `line L, column C`, or an empty string if the error has no position."""
    try:
        context = error.context()
    except ValueError:  # beyond the end of the source
        return "at the end"
    return f"line {context[0]}, column {context[1] + 1}" if context else ""
