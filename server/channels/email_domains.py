"""Which domains can receive mail: not those that never resolve, nor those that the configuration refuses."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["domain_problem", "refuse_domains"]

_DELIVERABLE = ("home.arpa", "local", "test")
"""Special-use domains in which local networks have mail servers (RFC 8375, 6762, 6761)."""
_NEVER = ("alt", "arpa", "invalid", "localhost", "onion")
"""Those of which no mail server can be looked up: https://www.iana.org/assignments/special-use-domain-names."""
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
    """Return the first of the names that the domain is, or is below."""
    return next((name for name in names if domain == name or domain.endswith(f".{name}")), None)
