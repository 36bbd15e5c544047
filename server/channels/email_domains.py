"""Checks whether a domain can receive mail: some never resolve, and the configuration can refuse others."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["domain_problem", "refuse_domains"]

_DELIVERABLE = ("home.arpa", "local", "test")
"""Special-use domains in which local networks have mail servers (RFC 8375, 6762, 6761)."""
_NEVER = ("alt", "arpa", "invalid", "localhost", "onion")
"""Special-use domains that never have a mail server:
https://www.iana.org/assignments/special-use-domain-names."""
_refused: tuple[str, ...] = ()


def refuse_domains(domains: Iterable[str]) -> None:
    """Refuse these domains and all below them, in this process, in addition to those that never work."""
    global _refused  # noqa: PLW0603 - a setting of the process, set once before it serves
    _refused = tuple(domains)


def domain_problem(domain: str) -> str | None:
    """Return why no mail can be sent to a domain, or None if it can.

    Args:
        domain: The domain in ASCII, in any case.
    """
    lower = domain.lower()
    if refused := _name_of(lower, _refused):
        return f'this service does not send to the domain "{refused}"'
    never = _name_of(lower, _NEVER)
    if never and not _name_of(lower, _DELIVERABLE):
        return f'no mail server can have a name in "{never}"'
    return None


def _name_of(domain: str, names: Iterable[str]) -> str | None:
    """Return the first name that equals the domain or is a parent domain of it, or None."""
    return next((name for name in names if domain == name or domain.endswith(f".{name}")), None)
