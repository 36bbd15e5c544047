"""Filters for numbers. They calculate in decimal, as Liquid's reference does, and treat other values as 0."""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from liquid.exceptions import FilterArgumentError

from .filter_limits import Filter
from .values import EXACT, Number, number_of

__all__ = ["FILTERS"]

MAX_PLACES = 400
"""Decimal places beyond which rounding changes nothing: the smallest float has fewer."""


def _unary(calculate: Callable[[Number], Number]) -> Filter:
    def call(value: Any) -> int | float:
        return _plain(calculate(number_of(value)))

    return call


def _binary(calculate: Callable[[Number, Number], Number]) -> Filter:
    def call(value: Any, operand: Any) -> int | float:
        return _plain(calculate(number_of(value), number_of(operand)))

    return call


def _plain(number: Number) -> int | float:
    return number if isinstance(number, int) else float(number)


def _divided(value: Number, divisor: Number) -> Number:
    """Divide; two integers give an integer, rounded down."""
    if not divisor:
        raise FilterArgumentError("divided_by: the divisor is 0", token=None)
    if isinstance(value, int) and isinstance(divisor, int):
        return value // divisor
    return Decimal(value) / divisor


def _modulo(value: Number, divisor: Number) -> Number:
    """Return the remainder, which has the sign of the divisor."""
    if not divisor:
        raise FilterArgumentError("modulo: the divisor is 0", token=None)
    rest = value % divisor
    return rest + divisor if rest and (rest < 0) != (divisor < 0) else rest


def round_(value: Any, digits: Any = 0) -> int | float:
    """Round to a number of decimal places; half is rounded away from zero."""
    number, places = number_of(value), int(number_of(digits))
    if places >= 0 and isinstance(number, int):
        return number
    unit = Decimal(1).scaleb(-max(-MAX_PLACES, min(places, MAX_PLACES)))
    rounded = Decimal(number).quantize(unit, context=EXACT)
    return float(rounded) if places > 0 else int(rounded)


FILTERS: dict[str, Filter] = {
    "abs": _unary(lambda value: max(value, -value)),
    "at_least": _binary(max),
    "at_most": _binary(min),
    "ceil": _unary(math.ceil),
    "divided_by": _binary(_divided),
    "floor": _unary(math.floor),
    "minus": _binary(lambda value, operand: value - operand),
    "modulo": _binary(_modulo),
    "plus": _binary(lambda value, operand: value + operand),
    "round": round_,
    "times": _binary(lambda value, operand: value * operand),
}
