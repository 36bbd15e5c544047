"""`clarion projects`."""

from __future__ import annotations

from typing import Any

import click

from clarion.admin.v1 import project_pb2 as pb

from .common import echo, json_option, run, show_json, table
from .limits import in_words, limit_options, new_limit
from .messages import as_data, limit_of
from .remote import Admin, admin_options

__all__ = ["projects"]

_PAGE = 1000


@click.group()
def projects() -> None:
    """List and create projects; set their rate limits and time zones."""


@projects.command(name="list")
@json_option
@admin_options
def list_projects(*, admin: Admin, as_json: bool) -> None:
    """List projects, by name."""

    async def work() -> list[pb.Project]:
        found: list[pb.Project] = []
        request = pb.ListProjectsRequest(page_size=_PAGE)
        async with admin.opened() as client:
            while True:
                page = await client.call("projects", "ListProjects", request)
                found += page.projects
                request.page_token = page.next_page_token
                if not page.next_page_token:
                    return found

    found = run(work())
    if as_json:
        show_json([as_data(one) for one in found])
        return
    table(
        [{"NAME": one.project, "TIMEZONE": one.timezone, "LIMIT": in_words(limit_of(one))} for one in found],
        "projects",
    )


@projects.command()
@click.argument("name")
@click.option("--timezone", default="", help="IANA time zone of users whose own is unknown.  [default: UTC]")
@json_option
@admin_options
def create(*, admin: Admin, name: str, timezone: str, as_json: bool) -> None:
    """Create project NAME."""
    request = pb.CreateProjectRequest(project=name, timezone=timezone)
    project = _called(admin, "CreateProject", request)
    _show(project, f"created project {project.project}", as_json=as_json)


@projects.command(name="limit")
@click.argument("name")
@limit_options
@click.option("--default", is_flag=True, help="Reset to the limits of the configuration.")
@json_option
@admin_options
def limit_project(
    *, admin: Admin, name: str, rate: float | None, burst: int | None, default: bool, as_json: bool
) -> None:
    """Set the rate limit of project NAME, for all of its keys together.

    Takes effect within a second. Omitted options are reset to their defaults.
    """
    wanted = new_limit(rate, burst, default=default)
    request = pb.UpdateProjectRequest(project=name, requests_per_second=wanted.rate, burst=wanted.burst)
    request.update_mask.paths.extend(("requests_per_second", "burst"))
    project = _called(admin, "UpdateProject", request)
    _show(project, f"limit of project {project.project}: {in_words(limit_of(project))}", as_json=as_json)


@projects.command(name="timezone")
@click.argument("name")
@click.argument("zone")
@json_option
@admin_options
def set_timezone(*, admin: Admin, name: str, zone: str, as_json: bool) -> None:
    """Set the time zone of project NAME to ZONE, such as Europe/Berlin.

    It applies to send windows and to dates in templates for users whose triggers have no time zone. Takes
    effect within a second.
    """
    request = pb.UpdateProjectRequest(project=name, timezone=zone)
    request.update_mask.paths.append("timezone")
    project = _called(admin, "UpdateProject", request)
    _show(project, f"time zone of project {project.project}: {project.timezone}", as_json=as_json)


def _called(admin: Admin, method: str, request: Any) -> pb.Project:
    async def work() -> pb.Project:
        async with admin.opened() as client:
            project: pb.Project = (await client.call("projects", method, request)).project
            return project

    return run(work())


def _show(project: pb.Project, text: str, *, as_json: bool) -> None:
    if as_json:
        show_json(as_data(project))
    else:
        echo(text)
