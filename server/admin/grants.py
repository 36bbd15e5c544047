"""Grants: whether an actor manages them, and the messages that show them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from clarion.admin.v1 import operator_pb2 as pb

from ..domain.operator import Actor, Grant, Role

__all__ = ["grant_messages", "grant_words", "manages", "only_project"]


def manages(actor: Actor, grants: Iterable[Grant]) -> bool:
    """Return whether an actor is an admin of everything that the grants cover."""
    return all(actor.may(Role.ADMIN, grant.project_id) for grant in grants)


def only_project(grants: Iterable[Grant]) -> int | None:
    """Return the project that all grants are for; None for several, or all."""
    found = {grant.project_id for grant in grants}
    return found.pop() if len(found) == 1 else None


def grant_messages(grants: Iterable[Grant], names: Mapping[int, str]) -> list[pb.Grant]:
    """Return the messages for grants, with the names of their projects."""
    return [
        pb.Grant(role=grant.role.value, project=names[grant.project_id] if grant.project_id else "")
        for grant in grants
    ]


def grant_words(grants: Iterable[Grant], names: Mapping[int, str]) -> list[str]:
    """Return grants for the audit log, such as `operator@demo`; `*` is all projects."""
    return [f"{one.role}@{names[one.project_id] if one.project_id else '*'}" for one in grants]
