"""A campaign's sender: an email address, with or without a name."""

from __future__ import annotations

import functools
import re
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from typing import NamedTuple

from ..domain.wording import quoted
from .email_address import as_sent, email_problem, is_envelope_address
from .email_headers import one_line

__all__ = ["Sender", "parse_sender", "sender_problem"]

_NAMED = re.compile(r'(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<plain>[^<>]*))\s*<(?P<address>[^<>]*)>', re.DOTALL)
# `shop@example.com (Shop)`: a form from before RFC 822 that older versions of Clarion accepted.
_COMMENTED = re.compile(r"(?P<address>[^\s()<>]+)\s*\((?P<name>[^()<>]*)\)")
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_SEVERAL = re.compile(r"@[^@]*[,;].*@", re.DOTALL)
_FORM = "write one address, such as shop@example.com or Shop <shop@example.com>"


class Sender(NamedTuple):
    """A sender's display name, which may be empty, and its address, whose domain is in its IDNA 2008 form."""

    name: str
    address: str


@functools.lru_cache(maxsize=1024)
def parse_sender(sender: str) -> Sender:
    """Split a sender into its name and address.

    The name needs no quotes, because the angle brackets show where it ends: `Shop, Inc. <shop@example.com>`.
    Only a name with an @ needs them, because the @ could belong to a second address.

    Raises:
        ValueError: It is not exactly one address. The message describes the expected form.
    """
    name, given = _split(sender)
    try:
        address = as_sent(given)
    except ValueError:
        address = ""
    if not is_envelope_address(address):
        raise ValueError(f"{quoted(given)} is not an email address; {_FORM}")
    return Sender(name, address)


def sender_problem(sender: str) -> str | None:
    """Return why a campaign cannot use this sender, or None. Bounces must be able to reach its address."""
    try:
        _, address = _split(sender)
    except ValueError as error:
        return str(error)
    problem = email_problem(address)
    return f"{quoted(address)} {problem}; {_FORM}" if problem else None


def _split(sender: str) -> tuple[str, str]:
    """Return the name and the address as they were given."""
    match = _NAMED.fullmatch(sender.strip())
    unquoted = match["plain"] or "" if match else sender
    if _SEVERAL.search(sender if "@" in unquoted else unquoted):
        raise ValueError(f"{quoted(sender)} names several addresses; {_FORM}")
    if match is None:
        commented = _COMMENTED.fullmatch(sender.strip())
        return (one_line(commented["name"]), commented["address"]) if commented else ("", sender.strip())
    if "@" in unquoted:
        right = f'"{one_line(unquoted)}" <{match["address"].strip()}>'
        raise ValueError(f"the name in {quoted(sender)} contains an @; put it in quotes: '{right}'")
    name = unquoted if match["quoted"] is None else _ESCAPED.sub(r"\1", match["quoted"])
    return one_line(_decoded(name)), match["address"].strip()


def _decoded(name: str) -> str:
    """Return a name with its encoded words (RFC 2047) decoded; a name copied from a header may have some."""
    if "=?" not in name:
        return name
    try:
        return str(make_header(decode_header(name)))
    except (HeaderParseError, LookupError, UnicodeError):
        return name
