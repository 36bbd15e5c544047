"""Limits the results of filters and the work to compute them, and reports wrong arguments."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from liquid.exceptions import FilterArgumentError, FilterValueError, ResourceLimitError
from liquid.undefined import is_undefined

from .limits import MAX_INTEGER_BITS, MAX_OUTPUT, check_range

__all__ = ["Filter", "argument_problem", "bounded"]

Filter = Callable[..., Any]

# What Liquid's filters raise for values that they do not support, in addition to LiquidError.
_UNSUPPORTED_VALUE = (
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    RecursionError,
    ValueError,
)


def bounded(name: str, func: Filter) -> Filter:
    """Wrap a filter so that its result and the work to compute it are limited.

    Under `undefined: strict`, every filter except `default` also rejects missing variables. Some of Liquid's
    filters would treat them as zero or empty.
    """
    predict_length, signature = _GROWTH.get(name), inspect.signature(func)
    accepts_missing = name == "default"

    @functools.wraps(func)
    def call(left: Any, *args: Any, **kwargs: Any) -> Any:
        for value in (left, *args, *kwargs.values()):
            check_range(value)
            if is_undefined(value) and not accepts_missing:
                value.poke()  # raises if the variable is strict
        if predict_length is not None and predict_length(left, *args) > MAX_OUTPUT:
            raise ResourceLimitError(f"the result of `{name}` is too long", token=None)
        try:
            result = func(left, *args, **kwargs)
        except FilterArgumentError as error:
            problem = _mismatch(signature, (left, *args), kwargs)
            if problem:
                raise FilterArgumentError(f"`{name}`: {problem}", token=None) from error
            raise
        except _UNSUPPORTED_VALUE as error:  # without its text, which may quote the user's data
            fault = f"`{name}` cannot be used with this value ({type(error).__name__})"
            raise FilterValueError(fault, token=None) from error
        if _size(result) > MAX_OUTPUT:
            raise ResourceLimitError(f"the result of `{name}` is too long", token=None)
        return result

    return call


def _size(value: object) -> int:
    """Return the approximate length of a filter's result in characters."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, int):
        return 0 if value.bit_length() <= MAX_INTEGER_BITS else MAX_OUTPUT + 1
    return 0


def _replaced_length(left: object, seq: object = "", sub: object = "", *_: object) -> int:
    return str(left).count(str(seq)) * len(str(sub))


def _joined_length(left: object, separator: object = " ", *_: object) -> int:
    if not isinstance(left, list | tuple):
        return 0
    texts = sum(len(item) for item in left if isinstance(item, str))
    return texts + len(left) * len(str(separator))


# Filters whose result can be far longer than their arguments: as long as the product of their lengths.
_GROWTH: dict[str, Callable[..., int]] = {"replace": _replaced_length, "join": _joined_length}


def argument_problem(func: Filter, positional: int, named: Sequence[str]) -> str | None:
    """Return why a filter cannot be called with these arguments, or None.

    Args:
        func: The filter.
        positional: Number of arguments without a name, after the value that is filtered.
        named: Names of the other arguments.
    """
    provided = ("with_context", "context"), ("with_environment", "environment")
    names = [*named, *(name for mark, name in provided if hasattr(func, mark))]
    return _mismatch(inspect.signature(func), [None] * (positional + 1), dict.fromkeys(names))


def _mismatch(
    signature: inspect.Signature, args: Sequence[object], kwargs: Mapping[str, object]
) -> str | None:
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        return str(error)
    return None
