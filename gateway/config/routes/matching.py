"""Matchers of headers."""

from __future__ import annotations

from typing import Any

__all__ = ["longer_than", "method_of", "negated", "regex"]

Config = dict[str, Any]

LARGEST = 2**63 - 1
"""The end of a `range_match`, which Envoy requires: the largest int64."""


def method_of(methods: tuple[str, ...]) -> Config:
    """Return a matcher of requests with one of these methods."""
    if len(methods) > 1:
        return regex(":method", "|".join(methods))
    return {"name": ":method", "string_match": {"exact": methods[0]}}


def regex(header: str, pattern: str) -> Config:
    """Return a matcher of the whole value of a header. A missing header counts as empty."""
    match = {"safe_regex": {"regex": pattern}}
    return {"name": header, "string_match": match, "treat_missing_header_as_empty": True}


def longer_than(limit: int) -> Config:
    """Return a matcher of requests that announce a body of more bytes."""
    return {"name": "content-length", "range_match": {"start": limit + 1, "end": LARGEST}}


def negated(matcher: Config) -> Config:
    """Return a matcher of all other requests."""
    return {**matcher, "invert_match": True}
