"""Projects in the database."""

from __future__ import annotations

from collections.abc import Mapping

import asyncpg

from ...domain.limit import OwnLimit
from ...domain.project import Project
from ...errors import ProjectNotFound
from ..pool import Connection, Pool
from ..sql import load

__all__ = ["all_projects", "ensure_project", "limit_project", "list_projects", "set_timezone"]

_SQL = load("admin/projects.sql")


async def ensure_project(pool: Pool, name: str) -> int:
    """Return the id of the project with this name; create the project if it does not exist."""
    await pool.execute(*_SQL["create"](name=name))
    found: int = await pool.fetchval(*_SQL["find_id"](name=name))
    return found


async def list_projects(pool: Pool) -> list[Project]:
    """Return all projects, by name."""
    return [_project(row) for row in await pool.fetch(*_SQL["list"]())]


async def all_projects(connection: Connection) -> Mapping[int, Project]:
    """Return all projects by id."""
    return {row["id"]: _project(row) for row in await connection.fetch(*_SQL["all"]())}


async def limit_project(pool: Pool, name: str, limit: OwnLimit) -> Project:
    """Change the limit of a project and return the project.

    Raises:
        ProjectNotFound: No project has this name.
    """
    row = await pool.fetchrow(*_SQL["limit"](name=name, rate=limit.rate, burst=limit.burst))
    return _found(row, name)


async def set_timezone(pool: Pool, name: str, timezone: str) -> Project:
    """Change the time zone (IANA) of a project and return the project.

    Raises:
        ProjectNotFound: No project has this name.
    """
    return _found(await pool.fetchrow(*_SQL["set_timezone"](name=name, timezone=timezone)), name)


def _found(row: asyncpg.Record | None, name: str) -> Project:
    if row is None:
        raise ProjectNotFound.of(name)
    return _project(row)


def _project(row: asyncpg.Record) -> Project:
    return Project(
        id=row["id"],
        name=row["name"],
        created_at=row["created_at"],
        limit=OwnLimit(row["rate"], row["burst"]),
        timezone=row["timezone"],
    )
