"""The context of one call of the admin API: the caller, and what the method requires."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.descriptor import MethodDescriptor

from clarion.admin.v1 import options_pb2

from ..domain.operator import Actor, Role
from ..domain.project import Project
from ..errors import ProjectNotFound
from ..store.admin.projects import find_project
from ..store.pool import Connection, Pool
from .errors import RoleMissing

__all__ = ["AdminCall", "is_open", "required_role"]

_REQUIRED_ROLE: Any = options_pb2.required_role  # its .pyi file predates typed extensions
_IS_OPEN: Any = options_pb2.is_open


def required_role(method: MethodDescriptor) -> Role | None:
    """Return the role in a method's options, or None if the method needs only valid credentials."""
    name = method.GetOptions().Extensions[_REQUIRED_ROLE]
    return Role(name) if name else None


def is_open(method: MethodDescriptor) -> bool:
    """Return whether a method's options let everyone call it, without credentials."""
    return bool(method.GetOptions().Extensions[_IS_OPEN])


@dataclass(frozen=True, slots=True)
class AdminCall:
    """A call by a known actor, who has the method's role for at least one project.

    A method must check the project that it reads or changes: by `project`, by `require`, or by restricting a
    list to `visible`.

    Attributes:
        actor: The caller.
        role: The role that the method requires; None if it needs only valid credentials.
        address: The caller's address, or `command line`.
        request_id: The request ID.
        headers: The other headers that Clarion reads.
    """

    actor: Actor
    role: Role | None
    address: str
    request_id: str
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def visible(self) -> frozenset[int] | None:
        """The projects for which the actor has the method's role; None means all projects."""
        return self.actor.projects(self.role or Role.VIEWER)

    @property
    def changes(self) -> bool:
        """Whether the method changes something: it needs more than the role of a viewer."""
        return self.role is not None and self.role is not Role.VIEWER

    async def project(self, connection: Connection | Pool, name: str, *, lock: bool = False) -> Project:
        """Return a project for which the actor has the method's role.

        Args:
            connection: The database.
            name: The name of the project.
            lock: Whether to lock the row until the end of the transaction.

        Raises:
            ProjectNotFound: The project does not exist, or the actor may not see it.
            RoleMissing: The actor may see the project, but lacks the role.
        """
        project = await find_project(connection, name, lock=lock)
        if project is None or not self.actor.may(Role.VIEWER, project.id):
            raise ProjectNotFound.of(name)
        self.require(project.id, name)
        return project

    async def scope(self, pool: Pool, name: str) -> frozenset[int] | None:
        """Return the projects that a list is restricted to: the named one; without a name, all `visible`.

        Raises:
            ProjectNotFound, RoleMissing: The actor may not use the project; see `project`.
        """
        return frozenset({(await self.project(pool, name)).id}) if name else self.visible

    def may_see(self, project_id: int | None) -> bool:
        """Return whether the actor may read what belongs to the project; None means to all projects."""
        return self.actor.may(Role.VIEWER, project_id)

    def require(self, project_id: int | None = None, name: str = "") -> None:
        """Check that the actor has the method's role for a project, or for all projects.

        Args:
            project_id: The project; None for all projects.
            name: The name of the project, for the error.

        Raises:
            RoleMissing: It lacks the role.
        """
        role = self.role or Role.VIEWER
        if not self.actor.may(role, project_id):
            where = f"project {name}" if name else "all projects"
            raise RoleMissing(
                f"This call needs the role {role} for {where}.",
                metadata={"role": role.value, **({"project": name} if name else {})},
            )
