"""What the allow-list grants to a person. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ...domain.identity import Identity
from ...domain.operator import ALL_PROJECTS, Grant
from .settings import Allow

__all__ = ["grants_of"]


def grants_of(identity: Identity, allow: Iterable[Allow], projects: Mapping[str, int]) -> tuple[Grant, ...]:
    """Return everything that the allow-list grants to a person.

    Args:
        identity: The person.
        allow: The allow-list.
        projects: The IDs of all projects by name. Entries that name another project grant nothing.
    """
    found: dict[Grant, None] = {}
    for one in allow:
        if _is_meant(identity, one):
            known = [projects[name] for name in one.projects or () if name in projects]
            ids = known if one.projects else [ALL_PROJECTS]
            found.update(dict.fromkeys(Grant(one.role, project_id) for project_id in ids))
    return tuple(found)


def _is_meant(identity: Identity, one: Allow) -> bool:
    if one.group:
        return one.group in identity.groups
    return bool(identity.email) and _folded(identity.email) == _folded(one.email)


def _folded(email: str) -> bytes:
    """Return an address with its ASCII letters in lower case. Most mail servers ignore only their case.

    Other folding would equate different mailboxes, such as `boss@` and `bo\u00df@`.
    """
    return email.encode().lower()
