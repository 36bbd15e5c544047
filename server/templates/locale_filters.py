"""Filters of our own: dates and numbers as the user writes them.

python-liquid has filters on Babel too. Ours differ where it matters: zones come from the same database as
everywhere else, times are read strictly, numbers stay exact (theirs make 19.989999… of 19.99, and fail
above 28 digits), and what is not a number or a time is printed as it is, as `date` does it.
"""

from __future__ import annotations

import copy
import datetime as dt
import functools
import re
from decimal import ROUND_HALF_UP, Context, Decimal, localcontext
from typing import Any

from babel import Locale, dates, numbers
from babel.core import UnknownLocaleError
from liquid.exceptions import FilterArgumentError
from liquid.filter import liquid_filter, with_context
from liquid.undefined import is_undefined

from ..domain.campaign import locale_chain
from .limits import MAX_INTEGER_BITS, BoundedContext, Filter

__all__ = ["FILTERS"]

MAX_PATTERN = 100
"""Characters of a date pattern."""
MAX_DIGITS = 20
"""Digits behind the decimal point that a template may ask for."""

_STYLES = frozenset({"short", "medium", "long", "full"})
_NUMBER = re.compile(r"[+-]?[0-9]{1,100}(?:\.[0-9]{1,100})?")
_CURRENCY = re.compile(r"[A-Z]{3}")
# Wide enough for the longest integer and its digits behind the point, so that nothing is rounded but what
# the template rounds; and that as shops do it.
_EXACT = Context(prec=MAX_INTEGER_BITS, rounding=ROUND_HALF_UP)


@functools.lru_cache(maxsize=256)
def locale_of(tag: str) -> Locale:
    """Return the conventions for a BCP 47 tag: `pt-BR` → `pt` → English.

    The first use of a locale loads it from a file (about 5 ms and 1 MB; all thousand: 180 MB), and it stays.
    """
    for candidate in locale_chain(tag)[:-1]:  # without the default
        try:
            return Locale.parse(candidate, sep="-")
        except (UnknownLocaleError, ValueError):
            continue
    return Locale("en")


def _locale(context: BoundedContext, named: object) -> Locale:
    return locale_of(str(named) or context.locale)


@with_context
@liquid_filter
def date(value: Any, fmt: Any = None, *, context: BoundedContext) -> str:
    """Format a point in time by a pattern of strftime, in the user's time zone.

    Takes ISO 8601 text, seconds since 1970, `now` or `today`. A time without a zone is UTC; a
    date without a time is that date everywhere. Anything else is printed as it is.
    """
    if _is_nothing(value):
        return ""
    moment = _moment(value, context.zone)
    if moment is None or is_undefined(fmt) or not fmt:
        return str(value)
    try:
        return moment.strftime(str(fmt).replace("%s", str(int(moment.timestamp()))))
    except (ValueError, OverflowError) as error:
        raise FilterArgumentError(f"date: {error}", token=None) from error


@with_context
@liquid_filter
def datetime(
    value: Any,
    format: Any = "",  # noqa: A002 - its name in templates, as in python-liquid
    *,
    date: Any = "",
    time: Any = "",
    locale: Any = "",
    context: BoundedContext,
) -> str:
    """Format a point in time as the user's language does, in the user's time zone. Takes what `date` takes.

    `format` is short, medium, long or full, or a pattern of CLDR; `date` and `time` choose for each, and one
    alone leaves the other out. Without any it is medium; of a date without a time, the date alone.
    """
    if _is_nothing(value):
        return ""
    moment = _moment(value, context.zone)
    if moment is None:
        return str(value)
    chosen, style = _locale(context, locale), str(format or "")
    if style and style not in _STYLES:
        return _by_pattern(moment, style, chosen)
    day, clock = str(date or ""), str(time or "")
    if not (day or clock):
        day = style or "medium"
        clock = "" if _is_day(value) else day
    return _by_styles(moment, day, clock, chosen)


def _by_pattern(moment: dt.datetime, pattern: str, locale: Locale) -> str:
    try:
        if len(pattern) <= MAX_PATTERN:
            return dates.format_datetime(moment, pattern, tzinfo=moment.tzinfo, locale=locale)
    except (ValueError, LookupError, AttributeError, NotImplementedError):
        pass  # what Babel raises of patterns that CLDR does not know
    raise FilterArgumentError("datetime: give short, medium, long, full, or a pattern of CLDR", token=None)


def _by_styles(moment: dt.datetime, day: str, clock: str, locale: Locale) -> str:
    if not {day, clock} <= _STYLES | {""}:
        raise FilterArgumentError("datetime: date and time are short, medium, long or full", token=None)
    days = dates.format_date(moment, day, locale=locale) if day else ""
    clocks = dates.format_time(moment, clock, tzinfo=moment.tzinfo, locale=locale) if clock else ""
    if not (day and clock):
        return days or clocks
    both = str(dates.get_datetime_format(day, locale=locale))  # type: ignore[arg-type]  # one of _STYLES
    return both.replace("'", "").replace("{0}", clocks).replace("{1}", days)


@with_context
@liquid_filter
def decimal(
    value: Any, digits: Any = None, *, group_separator: Any = True, locale: Any = "", context: BoundedContext
) -> Any:
    """Format a number as the user's language does; all its digits, or `digits` behind the point."""
    number = _number(value)
    if number is None:
        return value
    chosen = _locale(context, locale)
    pattern = _with_digits(chosen.decimal_formats[None], digits)
    with localcontext(_EXACT):
        return pattern.apply(
            number,
            chosen,
            decimal_quantization=digits is not None,
            group_separator=group_separator is not False,
        )


@with_context
@liquid_filter
def percent(value: Any, digits: Any = 0, *, locale: Any = "", context: BoundedContext) -> Any:
    """Format a part of 1 as a percentage, `0.25` as `25%`, with `digits` behind the point."""
    number = _number(value)
    if number is None:
        return value
    chosen = _locale(context, locale)
    with localcontext(_EXACT):
        return _with_digits(chosen.percent_formats[None], digits).apply(number, chosen)


@with_context
@liquid_filter
def currency(value: Any, code: Any = "", *, locale: Any = "", context: BoundedContext) -> Any:
    """Format an amount of money, in whole units, as the user's language does. `code` is of ISO 4217."""
    number = _number(value)
    if number is None:
        return value
    name = str(code).upper()
    if not _CURRENCY.fullmatch(name):
        raise FilterArgumentError("currency: give a code of ISO 4217, such as 'EUR'", token=None)
    with localcontext(_EXACT):
        return numbers.format_currency(number, name, locale=_locale(context, locale))


def _with_digits(pattern: numbers.NumberPattern, digits: object) -> numbers.NumberPattern:
    if digits is None:
        return pattern
    if isinstance(digits, bool) or not isinstance(digits, int) or not 0 <= digits <= MAX_DIGITS:
        raise FilterArgumentError(f"give the digits behind the point as 0 to {MAX_DIGITS}", token=None)
    exact = copy.copy(pattern)
    exact.frac_prec = (digits, digits)
    return exact


def _number(value: object) -> Decimal | None:
    """Return a number or its text exactly, or None if it is none, or too long to be one."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return Decimal(value) if value.bit_length() <= MAX_INTEGER_BITS else None
    if isinstance(value, float):
        number = Decimal(repr(value))  # its shortest form, which is what was written
        return number if number.is_finite() else None
    if isinstance(value, Decimal):
        return value if value.is_finite() and abs(value.adjusted()) < MAX_INTEGER_BITS // 4 else None
    text = str(value).strip() if isinstance(value, str) else ""
    return Decimal(text) if _NUMBER.fullmatch(text) else None


def _is_nothing(value: object) -> bool:
    return value is None or is_undefined(value)


def _moment(value: object, zone: dt.tzinfo) -> dt.datetime | None:
    """Return a point in time in `zone`, or None if `value` is none."""
    if value in ("now", "today"):
        return dt.datetime.now(zone)
    try:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return dt.datetime.fromtimestamp(value, zone)
        text = str(value).strip()
        if text.isdecimal() and text.isascii():
            return dt.datetime.fromtimestamp(int(text), zone)
        return _from_iso(text, zone)
    except (ValueError, OverflowError, OSError):
        return None


def _from_iso(text: str, zone: dt.tzinfo) -> dt.datetime:
    moment = dt.datetime.fromisoformat(text)
    if moment.tzinfo is not None:
        return moment.astimezone(zone)
    if _is_day(text):
        return moment.replace(tzinfo=zone)
    return moment.replace(tzinfo=dt.UTC).astimezone(zone)


def _is_day(value: object) -> bool:
    """Tell whether a moment was written as a date without a time."""
    return isinstance(value, str) and "-" in value and not any(mark in value.strip() for mark in "T t:")


FILTERS: dict[str, Filter] = {
    "currency": currency,
    "date": date,
    "datetime": datetime,
    "decimal": decimal,
    "percent": percent,
}
