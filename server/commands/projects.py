"""`clarion projects`."""

from __future__ import annotations

import click

from clarion.admin.v1 import project_pb2 as pb

from .common import CHANNEL, json_option
from .limits import in_words, limit_options, new_limit
from .messages import enum_name, in_lines, limit_of, moment, show_list, show_one, word
from .remote import Admin, admin_options

__all__ = ["projects"]


@click.group()
def projects() -> None:
    """List, create, show and change projects."""


@projects.command(name="list")
@json_option
@admin_options
def list_projects(*, admin: Admin, as_json: bool) -> None:
    """List projects, by name, with limits and retention."""
    found = admin.collect("projects", "ListProjects", pb.ListProjectsRequest())
    show_list(found, _row, "projects", as_json=as_json)


def _row(one: pb.Project) -> dict[str, object]:
    return {
        "NAME": one.project,
        "TIMEZONE": one.timezone,
        "LIMIT": in_words(limit_of(one)),
        "CONTENT": _kept(one),
    }


@projects.command()
@click.argument("name")
@json_option
@admin_options
def show(*, admin: Admin, name: str, as_json: bool) -> None:
    """Show project NAME."""
    project = admin.call("projects", "GetProject", pb.GetProjectRequest(project=name)).project
    facts = {**_row(project), "CREATED": moment(project.create_time)}
    show_one(project, in_lines(facts), as_json=as_json)


@projects.command()
@click.argument("name")
@click.option("--timezone", default="", help="IANA time zone of users whose own is unknown.  [default: UTC]")
@json_option
@admin_options
def create(*, admin: Admin, name: str, timezone: str, as_json: bool) -> None:
    """Create project NAME."""
    request = pb.CreateProjectRequest(project=name, timezone=timezone)
    project = admin.call("projects", "CreateProject", request).project
    show_one(project, f"created project {project.project}", as_json=as_json)


@projects.command(name="limit")
@click.argument("name")
@limit_options
@click.option("--default", is_flag=True, help="Reset to the limits of the configuration.")
@json_option
@admin_options
def limit_project(
    *, admin: Admin, name: str, rate: float | None, burst: int | None, default: bool, as_json: bool
) -> None:
    """Set the rate limit of project NAME.

    All keys of the project share it. Takes effect within a second. Omitted options are reset to their
    defaults.
    """
    wanted = new_limit(rate, burst, default=default)
    request = pb.UpdateProjectRequest(project=name, requests_per_second=wanted.rate, burst=wanted.burst)
    request.update_mask.paths.extend(("requests_per_second", "burst"))
    project = admin.call("projects", "UpdateProject", request).project
    show_one(project, f"limit of project {project.project}: {in_words(limit_of(project))}", as_json=as_json)


@projects.command(name="timezone")
@click.argument("name")
@click.argument("zone")
@json_option
@admin_options
def set_timezone(*, admin: Admin, name: str, zone: str, as_json: bool) -> None:
    """Set the time zone of project NAME.

    ZONE is an IANA time zone, such as Europe/Berlin. It applies to send windows and to dates in templates for
    users whose triggers have no time zone. Takes effect within a second.
    """
    request = pb.UpdateProjectRequest(project=name, timezone=zone)
    request.update_mask.paths.append("timezone")
    project = admin.call("projects", "UpdateProject", request).project
    show_one(project, f"time zone of project {project.project}: {project.timezone}", as_json=as_json)


@projects.command(name="retention")
@click.argument("name")
@click.option(
    "--content-days",
    "content_days",
    type=(CHANNEL, click.IntRange(1, 3650)),
    metavar="CHANNEL DAYS",
    multiple=True,
    help="Keep the content of this channel's triggers for DAYS; can be repeated.",
)
@click.option("--default", is_flag=True, help="Reset all channels to the time of the configuration.")
@json_option
@admin_options
def set_retention(
    *, admin: Admin, name: str, content_days: tuple[tuple[str, int], ...], default: bool, as_json: bool
) -> None:
    """Set how long project NAME keeps the content of triggers.

    Content is the recipient, the event and the user data. Channels that are not named are reset to the
    configuration's [retention] content. A shorter time takes effect after a day, so that you can correct a
    mistake.
    """
    if bool(content_days) is default:
        raise click.UsageError("give --content-days or --default")
    times = [
        pb.ContentRetention(channel=enum_name("CHANNEL_", channel), days=days)
        for channel, days in content_days
    ]
    request = pb.UpdateProjectRequest(project=name, content_retention=times)
    request.update_mask.paths.append("content_retention")
    project = admin.call("projects", "UpdateProject", request).project
    show_one(project, f"content of project {project.project}: {_kept(project)}", as_json=as_json)


def _kept(project: pb.Project) -> str:
    times = [f"{word(one, 'channel')} {one.days} days" for one in project.content_retention]
    return ", ".join(times) or "default"
