"""Projects in the database."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping

import asyncpg

from ...domain.campaign import Channel
from ...domain.limit import OwnLimit
from ...domain.project import Project, name_problem
from ...domain.wording import quoted
from ...errors import ConfigError
from ..pool import Connection, Pool
from ..sql import load

__all__ = [
    "all_projects",
    "create_project",
    "ensure_project",
    "find_project",
    "list_page",
    "list_projects",
    "project_names",
    "update_project",
]

_SQL = load("admin/projects.sql")


async def ensure_project(pool: Pool, name: str) -> int:
    """Return the id of the project with this name; create the project if it does not exist.

    Raises:
        ConfigError: The name is invalid, and no project has it.
    """
    problem = name_problem(name)
    if not problem:
        await pool.execute(*_SQL["create"](name=name))
    found: int | None = await pool.fetchval(*_SQL["find_id"](name=name))
    if found is None:
        raise ConfigError(f"project: the name {problem}, found {quoted(name)}")
    return found


async def list_projects(pool: Pool) -> list[Project]:
    """Return all projects, by name."""
    return [_project(row) for row in await pool.fetch(*_SQL["list"]())]


async def all_projects(connection: Connection) -> Mapping[int, Project]:
    """Return all projects by id."""
    return {row["id"]: _project(row) for row in await connection.fetch(*_SQL["all"]())}


async def project_names(connection: Connection | Pool) -> dict[int, str]:
    """Return the names of all projects by id."""
    return {row["id"]: row["name"] for row in await connection.fetch(*_SQL["list"]())}


async def find_project(connection: Connection | Pool, name: str, *, lock: bool = False) -> Project | None:
    """Return the project with this name, or None.

    Args:
        connection: The database.
        name: The name.
        lock: Whether to lock the row until the end of the transaction.
    """
    row = await connection.fetchrow(*_SQL["lock" if lock else "find"](name=name))
    return _project(row) if row else None


async def list_page(pool: Pool, ids: Collection[int] | None, *, after: str, limit: int) -> list[Project]:
    """Return projects whose names follow `after`, by name; only those in `ids`, unless it is None."""
    chosen = None if ids is None else sorted(ids)
    return [_project(row) for row in await pool.fetch(*_SQL["page"](ids=chosen, after=after, limit=limit))]


async def create_project(connection: Connection, name: str, timezone: str) -> Project | None:
    """Create a project and return it; None if the name is taken."""
    row = await connection.fetchrow(*_SQL["insert"](name=name, timezone=timezone))
    return _project(row) if row else None


async def update_project(connection: Connection, project: Project) -> Project:
    """Store the values of an existing project, and return it."""
    limit = project.limit
    statement = _SQL["update"](
        id=project.id,
        rate=limit.rate,
        burst=limit.burst,
        timezone=project.timezone,
        content_days=json.dumps(project.content_days),
    )
    row = await connection.fetchrow(*statement)
    assert row is not None  # noqa: S101 - projects are never deleted
    return _project(row)


def _project(row: asyncpg.Record) -> Project:
    return Project(
        id=row["id"],
        name=row["name"],
        created_at=row["created_at"],
        limit=OwnLimit(row["rate"], row["burst"]),
        timezone=row["timezone"],
        content_days={Channel(channel): days for channel, days in json.loads(row["content_days"]).items()},
    )
