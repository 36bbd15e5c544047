"""Which locales replace one that a campaign or CLDR does not have.

The rules are CLDR's: preferred values (`iw` → `he`), scripts that follow from the country (`zh-HK` →
`zh-Hant-HK`), and parents (`es-MX` → `es-419` → `es`). Babel has the data. See Parent_Locales in
https://unicode.org/reports/tr35/.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from babel import Locale
from babel.core import UnknownLocaleError, get_global

__all__ = ["babel_locale", "best_match", "locale_chain", "same_language"]

_ALIASES = get_global("language_aliases")
_TERRITORY_ALIASES = get_global("territory_aliases")
_PARENTS = get_global("parent_exceptions")
_LIKELY = get_global("likely_subtags")
_SCRIPT = re.compile("[a-z]{4}")
_COUNTRY = re.compile("[a-z]{2}|[0-9]{3}")


class _Parsed(NamedTuple):
    """A locale in lower case, with preferred values and always with its script."""

    language: str
    script: str
    """Empty if CLDR does not know the language."""
    rest: tuple[str, ...]
    """Country, variants and extensions."""

    def key(self) -> str:
        """Return the shortest tag that means this locale, such as `zh-tw`, from which its script follows."""
        implied = self.script == _likely_script(self.language, _country(self.rest))
        return "-".join(filter(None, (self.language, "" if implied else self.script, *self.rest)))

    def parent(self) -> _Parsed | None:
        """Return the locale from which this one inherits; None if that is the root."""
        usual = self.script == _likely_script(self.language)
        country = _country(self.rest).upper()
        if len(self.rest) == bool(country):  # without variants and extensions
            for script in (self.script.title(), *([""] if usual else [])):
                exception = _PARENTS.get("_".join(filter(None, (self.language, script, country))))
                if exception and exception != "root" and _parsed(exception) != self:  # `no` is `nb` here
                    return _parsed(exception)
        if self.rest:
            return self._replace(rest=self.rest[:-1])
        return None


@functools.lru_cache(maxsize=1024)
def _parsed(tag: str) -> _Parsed:
    language, *rest = tag.replace("_", "-").lower().split("-")
    # In CLDR, `nb` inherits everything from `no`; both are written Norwegian as most people write it.
    alias, *more = ("nb" if language == "no" else _ALIASES.get(language, language)).lower().split("_")
    script = rest.pop(0) if rest and _SCRIPT.fullmatch(rest[0]) else ""
    for subtag in more:  # such as `sh` → `sr_Latn` and `prs` → `fa_AF`
        if _SCRIPT.fullmatch(subtag):
            script = script or subtag
        elif not _country(rest):
            rest.insert(0, subtag)
    country = _country(rest)
    if country.upper() in _TERRITORY_ALIASES:
        country = rest[0] = _TERRITORY_ALIASES[country.upper()][0].lower()
    return _Parsed(alias, script or _likely_script(alias, country), tuple(rest))


def _country(rest: Sequence[str]) -> str:
    """Return the country or region of what follows the script, or an empty string."""
    return rest[0] if rest and _COUNTRY.fullmatch(rest[0]) else ""


def _likely_script(language: str, country: str = "") -> str:
    """Return the script in which a language is usually written, there."""
    for identifier in (f"{language}_{country.upper()}", language):
        for subtag in _LIKELY.get(identifier, "").lower().split("_")[1:]:
            if _SCRIPT.fullmatch(subtag):
                return str(subtag)
    return ""


@functools.lru_cache(maxsize=1024)
def locale_chain(tag: str) -> tuple[str, ...]:
    """Return the locales to use for a BCP 47 tag, best first, in lower case: `es-mx`, `es-419`, `es`.

    The last one is the language in its usual script: most readers prefer it to another language.
    """
    if not tag:
        return ()
    first = _parsed(tag)
    locale: _Parsed | None = first
    chain: dict[str, None] = {}
    while locale is not None and locale.key() not in chain:
        chain[locale.key()] = None
        locale = locale.parent()
    return tuple(chain | {first.language: None})


def best_match(tag: str, available: Iterable[str]) -> str | None:
    """Return the available locale that is closest to a tag, or None if none has its language."""
    names: dict[str, str] = {}
    for name in available:
        if name == tag.replace("_", "-").lower():
            return name
        names.setdefault(_parsed(name).key(), name)
    return next((names[key] for key in locale_chain(tag) if key in names), None)


def same_language(tag: str, other: str) -> bool:
    """Return whether two tags have the same language and script."""
    return _parsed(tag)[:2] == _parsed(other)[:2]


@functools.lru_cache(maxsize=256)
def babel_locale(tag: str) -> Locale:
    """Return Babel's locale for a tag: the first of its chain for which there are data, or English.

    The first use of a locale loads it from a file (about 5 ms and 1 MB) and keeps it in memory; all thousand
    locales take 180 MB.
    """
    for candidate in locale_chain(tag):
        try:
            return Locale.parse(candidate, sep="-")
        except (UnknownLocaleError, ValueError):
            continue
    return Locale("en")
