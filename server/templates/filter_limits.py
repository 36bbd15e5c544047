"""Limits the results of filters, and reports wrong arguments."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from liquid.exceptions import FilterArgumentError, FilterValueError, ResourceLimitError
from liquid.undefined import is_undefined
from markupsafe import Markup

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
    TypeError,
    ValueError,
)


# Types that are neither ranges nor missing variables: to check for these takes ten times as long.
_PLAIN = frozenset({str, Markup, int, float, bool, type(None), list, dict})


def bounded(name: str, func: Filter) -> Filter:
    """Wrap a filter so that its result is limited, and its errors name it.

    Under `undefined: strict`, every filter except `default` also rejects missing variables. Some of Liquid's
    filters would treat them as zero or empty.
    """
    signature = inspect.signature(func)
    accepts_missing = name == "default"

    @functools.wraps(func)
    def call(left: Any, *args: Any, **kwargs: Any) -> Any:
        for value in (left, *args, *kwargs.values()):
            if type(value) in _PLAIN:
                continue
            check_range(value)
            if is_undefined(value) and not accepts_missing:
                value.poke()  # raises if the variable is strict
        try:
            result = func(left, *args, **kwargs)
        except (FilterArgumentError, *_UNSUPPORTED_VALUE) as error:
            problem = _mismatch(signature, (left, *args), kwargs)
            if problem:
                raise FilterArgumentError(f"`{name}`: {problem}", token=None) from error
            if isinstance(error, FilterArgumentError):
                raise
            # Without the text of the error, which may quote the user's data.
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
