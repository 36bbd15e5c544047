"""Checks email addresses. Descriptions of problems never repeat the address."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable

import email_validator

from ..domain.wording import at_position
from .email_domains import domain_problem, refuse_domains

__all__ = ["as_sent", "email_problem", "is_envelope_address", "is_plain_email", "set_refused_domains"]

# Nearly every address has this plain form; the library checks the others, at ten times the cost. The others
# include domains with "--", which may be Punycode.
_LABEL = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_PLAIN_LOCAL = re.compile(r"[A-Za-z0-9_+-]+(?:\.[A-Za-z0-9_+-]+)*")
_PLAIN_DOMAIN = re.compile(rf"(?!.*--)(?:{_LABEL}\.)+[A-Za-z]{{2,24}}", re.IGNORECASE | re.ASCII)
# Without quoted local parts and address literals, which are not used in practice and allow injections.
_ENVELOPE = re.compile(
    r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@(?:[A-Za-z0-9][\w-]*\.)*[A-Za-z0-9][\w-]*", re.ASCII
)
_MAX_LOCAL, _MAX_EMAIL = 64, 254
_NOT_LOCAL = re.compile(r"[^A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]")
_NOT_DOMAIN = re.compile(r"[^A-Za-z0-9.\u0080-\U0010ffff-]")
# The library ends some sentences with the invalid characters or a part of the address.
_QUOTED = re.compile(r"(?:: .*| \((?!\d).*\))?\.?\Z", re.DOTALL)
_MAX_REASON = 92


# The library's own list of special domains depends on its version, and includes some that local networks use.
email_validator.SPECIAL_USE_DOMAIN_NAMES.clear()


def set_refused_domains(domains: Iterable[str]) -> None:
    """Refuse these domains and all below them in this process."""
    refuse_domains(domains)
    _is_plain_domain.cache_clear()


def is_plain_email(address: str) -> bool:
    """Return whether an address has the plain form, which is valid and sent unchanged."""
    local, _, domain = address.rpartition("@")
    return (
        len(local) <= _MAX_LOCAL
        and len(address) <= _MAX_EMAIL
        and _PLAIN_LOCAL.fullmatch(local) is not None
        and _is_plain_domain(domain)
    )


@functools.lru_cache(maxsize=1024)
def _is_plain_domain(domain: str) -> bool:
    return _PLAIN_DOMAIN.fullmatch(domain) is not None and domain_problem(domain) is None


def is_envelope_address(address: str) -> bool:
    """Return whether an address can be used in SMTP commands as it is."""
    return len(address) <= _MAX_EMAIL and _ENVELOPE.fullmatch(address) is not None


def email_problem(address: str) -> str | None:
    """Return why an address cannot be sent to, or None if it can."""
    if is_plain_email(address):
        return None
    try:
        domain = _validated(address).ascii_domain
    except email_validator.EmailNotValidError as error:
        return f"is not an email address: {_reason(address, str(error))}"
    problem = domain_problem(domain)
    return f"cannot be sent to: {problem}" if problem else None


def as_sent(address: str) -> str:
    """Return a valid address in the form that is sent to the provider.

    ASCII addresses are unchanged. An internationalised domain is converted to its IDNA 2008 form, which every
    server accepts.

    Raises:
        ValueError: The domain has no such form. A checked address never raises this.
    """
    if address.isascii():
        return address
    local, _, domain = address.rpartition("@")
    return f"{local}@{_ascii_domain(domain)}"


@functools.lru_cache(maxsize=1024)
def _ascii_domain(domain: str) -> str:
    return _validated(f"a@{domain}").ascii_domain


def _validated(address: str) -> email_validator.ValidatedEmail:
    """Validate an address with the library.

    Non-ASCII local parts are rejected: they need SMTPUTF8 (RFC 6531), which the SMTP provider does not use.
    """
    return email_validator.validate_email(
        address, check_deliverability=False, allow_smtputf8=False, strict=True
    )


def _reason(address: str, words: str) -> str:
    """Return why an address is invalid: with a position or length where possible, otherwise in `words`."""
    local, at, domain = address.rpartition("@")
    if not (local and domain):
        return "it has no @" if not at else f"it has nothing {'before' if domain else 'after'} the @"
    odd = _NOT_LOCAL.search(local)
    if odd:
        return f"it contains {at_position(address, odd.start())}, which is not allowed before the @"
    if len(local) > _MAX_LOCAL:
        return f"it has {len(local)} characters before the @; at most {_MAX_LOCAL} are allowed"
    odd = _NOT_DOMAIN.search(domain)
    if odd:
        found = at_position(address, len(local) + 1 + odd.start())
        return f"it contains {found}, which is not allowed in a domain"
    reason = _QUOTED.sub("", words, count=1).replace(". It", ", it")
    return reason[:1].lower() + reason[1:] if len(reason) <= _MAX_REASON else "its domain is not a valid name"
