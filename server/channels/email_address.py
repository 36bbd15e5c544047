"""Checks of email addresses. A description of what is wrong with one never repeats it."""

from __future__ import annotations

import functools
import re

import email_validator

from ..domain.wording import at_position

__all__ = ["as_sent", "email_problem", "is_plain_email"]

# Nearly every address is of this plain form; the library judges the others, at ten times the cost. Those are
# also names with "--", which may be Punycode, and the top-level domains that nobody can have.
_LABEL = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_PLAIN_LOCAL = re.compile(r"[A-Za-z0-9_+-]+(?:\.[A-Za-z0-9_+-]+)*")
_PLAIN_DOMAIN = re.compile(
    rf"(?!.*--)(?:{_LABEL}\.)+(?!(?:arpa|invalid|local|localhost|onion|test)\Z)[A-Za-z]{{2,24}}",
    re.IGNORECASE | re.ASCII,
)
_MAX_LOCAL, _MAX_EMAIL = 64, 254
_NOT_LOCAL = re.compile(r"[^A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]")
_NOT_DOMAIN = re.compile(r"[^A-Za-z0-9.\u0080-\U0010ffff-]")
# The library ends some sentences with what it found: characters, or a part of the address.
_QUOTED = re.compile(r"(?:: .*| \((?!\d).*\))?\.?\Z", re.DOTALL)
_MAX_REASON = 92


def is_plain_email(address: str) -> bool:
    """Tell whether an address is of the form that nearly all have, and so can be sent to as it is."""
    local, _, domain = address.rpartition("@")
    return (
        len(local) <= _MAX_LOCAL
        and len(address) <= _MAX_EMAIL
        and _PLAIN_LOCAL.fullmatch(local) is not None
        and _is_plain_domain(domain)
    )


@functools.lru_cache(maxsize=1024)
def _is_plain_domain(domain: str) -> bool:
    return _PLAIN_DOMAIN.fullmatch(domain) is not None


def email_problem(address: str) -> str | None:
    """Return what keeps email from being sent to an address."""
    if is_plain_email(address):
        return None
    try:
        _judge(address)
    except email_validator.EmailNotValidError as error:
        return f"is not an email address: {_what_is_wrong(address, str(error))}"
    return None


def as_sent(address: str) -> str:
    """Return an accepted address as it goes to the provider: in the caller's spelling, where that is ASCII.

    An internationalised domain goes in its IDNA 2008 form, which every server takes.
    """
    if address.isascii():
        return address
    local, _, domain = address.rpartition("@")
    return f"{local}@{_ascii_domain(domain)}"


@functools.lru_cache(maxsize=1024)
def _ascii_domain(domain: str) -> str:
    return _judge(f"a@{domain}").ascii_domain


def _judge(address: str) -> email_validator.ValidatedEmail:
    """Let the library judge. Few servers deliver to local parts beyond ASCII, and ours does not ask them."""
    return email_validator.validate_email(
        address, check_deliverability=False, allow_smtputf8=False, strict=True
    )


def _what_is_wrong(address: str, words: str) -> str:
    """Say it with a position or a count where that is easy, else in the library's words."""
    local, at, domain = address.rpartition("@")
    if not (local and domain):
        return "it has no @" if not at else f"it has nothing {'before' if domain else 'after'} the @"
    odd = _NOT_LOCAL.search(local)
    if odd:
        return f"it holds {at_position(address, odd.start())}, which cannot stand before the @"
    if len(local) > _MAX_LOCAL:
        return f"it has {len(local)} characters before the @, at most {_MAX_LOCAL} are taken"
    odd = _NOT_DOMAIN.search(domain)
    if odd:
        return f"it holds {at_position(address, len(local) + 1 + odd.start())}, which no domain has"
    reason = _QUOTED.sub("", words, count=1).replace(". It", ", it")
    return reason[:1].lower() + reason[1:] if len(reason) <= _MAX_REASON else "its domain is not a valid name"
