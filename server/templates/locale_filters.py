"""Filters that format dates and numbers for the user's locale.

python-liquid also has filters based on Babel. These differ: time zones come from the same database as
everywhere else, times are parsed strictly, numbers stay exact (theirs turn 19.99 into 19.989999… and fail
above 28 digits), and a value that is not a number or time is printed unchanged, as `date` does.
"""

from __future__ import annotations

import copy
import datetime as dt
import math
import re
import unicodedata
from decimal import Decimal, localcontext
from typing import Any

from babel import Locale, dates, numbers
from liquid.exceptions import FilterArgumentError
from liquid.filter import with_context

from .filter_limits import Filter
from .limits import MAX_INTEGER_BITS, BoundedContext
from .locales import babel_locale
from .moments import is_day, moment_of
from .values import EXACT, is_missing, text_of

__all__ = ["FILTERS"]

MAX_PATTERN = 100
"""Maximum length of a date pattern of CLDR, in characters."""
MAX_STRFTIME = 1000
"""Maximum length of a pattern for `date`, in characters. The C library takes up to 256 bytes for each."""
MAX_DIGITS = 20
"""Maximum number of decimal places that a template may request."""

_STYLES = frozenset({"short", "medium", "long", "full"})
_NUMBER = re.compile(r"[+-]?[0-9]{1,100}(?:\.[0-9]{1,100})?")
_NO_BREAK_SPACE = "\u00a0"
_CURRENCY = re.compile(r"[A-Z]{3}")


def _locale(context: BoundedContext, named: object) -> Locale:
    return babel_locale(text_of(named) or context.locale)


@with_context
def date(value: Any, fmt: Any, *, context: BoundedContext) -> str:
    """Format a point in time with a strftime pattern, in the user's time zone.

    Any value that `moment_of` does not accept is printed unchanged.
    """
    moment = moment_of(value, context.zone)
    pattern = text_of(fmt)
    if moment is None or not pattern:
        return text_of(value)
    if len(pattern) > MAX_STRFTIME:
        raise FilterArgumentError(f"date: the format is longer than {MAX_STRFTIME} characters", token=None)
    try:
        return moment.strftime(_DIRECTIVE.sub(lambda found: _directive(found[0], moment), pattern))
    except (ValueError, OverflowError) as error:
        raise FilterArgumentError(f"date: {error}", token=None) from error


# The directives of Ruby's strftime that C libraries lack, and `%%`, so that `%%s` is not taken for `%s`.
_DIRECTIVE = re.compile(r"%(?:[%sLN]|:z)")


def _directive(name: str, moment: dt.datetime) -> str:
    match name:
        case "%s":
            return str(math.floor(moment.timestamp()))
        case "%L":
            return f"{moment.microsecond // 1000:03}"
        case "%N":
            return f"{moment.microsecond:06}000"
        case "%:z":
            return re.sub(r"(?<=\d\d)(?=\d\d$)", ":", moment.strftime("%z"))
    return name


@with_context
def datetime(
    value: Any,
    format: Any = "",  # noqa: A002 - the name in templates, as in python-liquid
    *,
    date: Any = "",
    time: Any = "",
    locale: Any = "",
    context: BoundedContext,
) -> str:
    """Format a point in time for the user's locale and time zone. Accepts the values that `date` accepts.

    Args:
        value: The point in time.
        format: `short`, `medium` (the default), `long`, `full`, or a CLDR pattern. A date without a time is
            printed without a time.
        date: The style of the date. Without `time`, only the date is printed.
        time: The style of the time. Without `date`, only the time is printed.
        locale: A BCP 47 locale to use instead of the user's.
        context: The render context.
    """
    moment = moment_of(value, context.zone)
    if moment is None:
        return text_of(value)
    chosen, style = _locale(context, locale), text_of(format)
    if style and style not in _STYLES:
        return _by_pattern(moment, style, chosen)
    day, clock = text_of(date), text_of(time)
    if not (day or clock):
        day = style or "medium"
        clock = "" if is_day(value) else day
    return _by_styles(moment, day, clock, chosen)


def _by_pattern(moment: dt.datetime, pattern: str, locale: Locale) -> str:
    try:
        if len(pattern) <= MAX_PATTERN:
            return dates.format_datetime(moment, pattern, tzinfo=moment.tzinfo, locale=locale)
    except (ValueError, LookupError, AttributeError, NotImplementedError):
        pass  # Babel raises these for patterns that CLDR does not define
    raise FilterArgumentError(
        "datetime: the format must be short, medium, long, full or a CLDR pattern", token=None
    )


def _by_styles(moment: dt.datetime, day: str, clock: str, locale: Locale) -> str:
    if not {day, clock} <= _STYLES | {""}:
        raise FilterArgumentError("datetime: date and time must be short, medium, long or full", token=None)
    days = dates.format_date(moment, day, locale=locale) if day else ""
    clocks = dates.format_time(moment, clock, tzinfo=moment.tzinfo, locale=locale) if clock else ""
    if not (day and clock):
        return days or clocks
    both = str(dates.get_datetime_format(day, locale=locale))  # type: ignore[arg-type]  # one of _STYLES
    return both.replace("'", "").replace("{0}", clocks).replace("{1}", days)


@with_context
def decimal(
    value: Any, digits: Any = None, *, group_separator: Any = True, locale: Any = "", context: BoundedContext
) -> Any:
    """Format a number for the user's locale, with all its digits or with `digits` decimal places."""
    number = _number(value)
    if number is None:
        return value
    chosen = _locale(context, locale)
    pattern = _with_digits(chosen.decimal_formats[None], digits)
    with localcontext(EXACT):
        return pattern.apply(
            number,
            chosen,
            decimal_quantization=not is_missing(digits),
            group_separator=group_separator is not False,
        )


@with_context
def percent(value: Any, digits: Any = 0, *, locale: Any = "", context: BoundedContext) -> Any:
    """Format a fraction as a percentage, `0.25` as `25%`, with `digits` decimal places."""
    number = _number(value)
    if number is None:
        return value
    chosen = _locale(context, locale)
    with localcontext(EXACT):
        return _with_digits(chosen.percent_formats[None], digits).apply(number, chosen)


@with_context
def currency(value: Any, code: Any = "", *, locale: Any = "", context: BoundedContext) -> Any:
    """Format an amount of money for the user's locale. `code` is an ISO 4217 currency code."""
    number = _number(value)
    if number is None:
        return value
    name = text_of(code).upper()
    if not _CURRENCY.fullmatch(name):
        raise FilterArgumentError("currency: the code must be an ISO 4217 code such as 'EUR'", token=None)
    chosen = _locale(context, locale)
    with localcontext(EXACT):
        text = numbers.format_currency(number, name, locale=chosen)
    return _spaced(text, numbers.get_currency_symbol(name, chosen))


def _spaced(text: str, symbol: str) -> str:
    """Put a no-break space between a digit and a currency symbol that ends or begins with a letter.

    Babel leaves out this rule of CLDR: https://unicode.org/reports/tr35/tr35-numbers.html#Currencies, under
    currencySpacing. All locales have the same values for it.
    """
    before, found, after = text.partition(symbol)
    if not found:
        return text
    if before[-1:].isdecimal() and _is_word(symbol[0]):
        before += _NO_BREAK_SPACE
    if after[:1].isdecimal() and _is_word(symbol[-1]):
        after = _NO_BREAK_SPACE + after
    return before + symbol + after


def _is_word(char: str) -> bool:
    """Return whether a character is neither a symbol, such as `$`, nor a space."""
    return unicodedata.category(char)[0] not in "SZ"


def _with_digits(pattern: numbers.NumberPattern, digits: object) -> numbers.NumberPattern:
    if is_missing(digits):
        return pattern
    if isinstance(digits, bool) or not isinstance(digits, int) or not 0 <= digits <= MAX_DIGITS:
        raise FilterArgumentError(f"digits must be an integer from 0 to {MAX_DIGITS}", token=None)
    exact = copy.copy(pattern)
    exact.frac_prec = (digits, digits)
    return exact


def _number(value: object) -> Decimal | None:
    """Return the exact value of a number, also if it is text; None if it is not a number or too long."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return Decimal(value) if value.bit_length() <= MAX_INTEGER_BITS else None
    if isinstance(value, float):
        number = Decimal(repr(value))  # the shortest form, as written in the data
        return number if number.is_finite() else None
    if isinstance(value, Decimal):
        return value if value.is_finite() and abs(value.adjusted()) < MAX_INTEGER_BITS // 4 else None
    text = str(value).strip() if isinstance(value, str) else ""
    return Decimal(text) if _NUMBER.fullmatch(text) else None


FILTERS: dict[str, Filter] = {
    "currency": currency,
    "date": date,
    "datetime": datetime,
    "decimal": decimal,
    "percent": percent,
}
