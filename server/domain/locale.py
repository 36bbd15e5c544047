"""Normalises locales, which are BCP 47 language tags."""

from __future__ import annotations

import functools

from langcodes.tag_parser import parse_tag

__all__ = ["normal_locale"]


# Use only the library's parser: its other functions cache every tag without a limit, and callers choose tags.
@functools.lru_cache(maxsize=1024)
def normal_locale(tag: str) -> str:
    """Return a tag in the spelling that BCP 47 recommends: `zh_hans_cn` → `zh-Hans-CN`.

    Deprecated subtags are kept; `server.templates.locales` maps them to their replacements.

    Raises:
        ValueError: The tag is not well-formed.
    """
    return "-".join(part for _, part in parse_tag(tag)) if tag else ""
