"""Locales: BCP 47 language tags in one spelling."""

from __future__ import annotations

import functools

from langcodes.tag_parser import parse_tag

__all__ = ["normal_locale"]


# Only the library's parser is used: it caches its other objects without bound, and tags come from callers.
@functools.lru_cache(maxsize=1024)
def normal_locale(tag: str) -> str:
    """Return a tag in the spelling that BCP 47 recommends: `zh_hans_cn` → `zh-Hans-CN`.

    Deprecated subtags are kept; `server.templates.locales` knows their successors.

    Raises:
        ValueError: The tag is not well-formed.
    """
    return "-".join(part for _, part in parse_tag(tag)) if tag else ""
