"""Locales: BCP 47 language tags, in one spelling."""

from __future__ import annotations

import functools

from langcodes.tag_parser import parse_tag

__all__ = ["normal_locale"]


# The library's own objects are cached without bound, so only its parser is used: tags come from outside.
@functools.lru_cache(maxsize=1024)
def normal_locale(tag: str) -> str:
    """Return a tag as BCP 47 recommends to write it: `zh_hans_cn` → `zh-Hans-CN`.

    Subtags are not replaced by newer ones: the campaign's templates have the caller's names.

    Raises:
        ValueError: The tag is not well-formed.
    """
    return "-".join(part for _, part in parse_tag(tag)) if tag else ""
