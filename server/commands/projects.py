"""`clarion projects`."""

from __future__ import annotations

import click

from ..domain.project import Project
from ..errors import ConfigError
from ..intake.timezones import timezone_problem
from ..store.admin import projects as store
from ..store.pool import reached
from ..store.replication import changed
from .common import Invocation, echo, json_option, run, show_json, table
from .limits import in_words, limit_options, new_limit

__all__ = ["projects"]


@click.group()
def projects() -> None:
    """List projects; set their rate limits and time zones."""


@projects.command(name="list")
@json_option
@click.pass_obj
def list_projects(invocation: Invocation, *, as_json: bool) -> None:
    """List projects, by name."""

    async def work() -> list[Project]:
        async with invocation.database() as pool, reached():
            return await store.list_projects(pool)

    found = run(work())
    if as_json:
        show_json(found)
        return
    table(
        [
            {"ID": one.id, "NAME": one.name, "TIMEZONE": one.timezone, "LIMIT": in_words(one.limit)}
            for one in found
        ],
        "projects",
    )


@projects.command(name="limit")
@click.argument("name")
@limit_options
@click.option("--default", is_flag=True, help="Reset to the limits of the configuration.")
@json_option
@click.pass_obj
def limit_project(
    invocation: Invocation, *, name: str, rate: float | None, burst: int | None, default: bool, as_json: bool
) -> None:
    """Set the rate limit of project NAME, for all of its keys together.

    Takes effect within a second. Omitted options are reset to their defaults.
    """
    wanted = new_limit(rate, burst, default=default)

    async def work() -> Project:
        async with invocation.database() as pool, changed(pool):
            return await store.limit_project(pool, name, wanted)

    project = run(work())
    if as_json:
        show_json(project)
    else:
        echo(f"limit of project {project.name}: {in_words(project.limit)}")


@projects.command(name="timezone")
@click.argument("name")
@click.argument("zone")
@click.pass_obj
def set_timezone(invocation: Invocation, *, name: str, zone: str) -> None:
    """Set the time zone of project NAME to ZONE, such as Europe/Berlin.

    It applies to send windows and to dates in templates for users whose triggers have no time zone. Takes
    effect within a second.
    """
    problem = timezone_problem(zone) if zone else "is empty"
    if problem:
        raise ConfigError(f"time zone: {problem}")

    async def work() -> Project:
        async with invocation.database() as pool, changed(pool):
            return await store.set_timezone(pool, name, zone)

    project = run(work())
    echo(f"time zone of project {project.name}: {project.timezone}")
