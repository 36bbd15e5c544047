"""Projects: list, create, change."""

from __future__ import annotations

from starlette.responses import Response

from clarion.admin.v1 import project_pb2 as pb
from clarion.v1.campaign_pb2 import Channel

from ..forms import Form
from ..limits import limit_texts, read_limit
from ..numbers import whole_number
from ..visit import Page, Section, Visit
from ..words import word_of

__all__ = ["PAGES", "SECTION"]

SECTION = Section("Projects", "/projects")
_PAGE = 50
_MOST_DAYS = 3650
_CHANNELS = tuple(name.removeprefix("CHANNEL_").lower() for name in Channel.keys()[1:])


async def list_projects(visit: Visit) -> Response:
    """List projects."""
    request = pb.ListProjectsRequest(page_size=_PAGE, page_token=visit.query("page"))
    found: pb.ListProjectsResponse = await visit.call(request)
    can_create = visit.can(pb.CreateProjectRequest) and visit.has_role_everywhere("admin")
    return visit.page("projects.html", "Projects", found=found, can_create=can_create)


async def new_project(visit: Visit) -> Response:
    """Create a project."""
    form = visit.form
    if form.is_sent:
        with form.checked():
            request = pb.CreateProjectRequest(project=form["project"], timezone=form["timezone"])
            name = (await visit.call(request)).project.project
            return visit.redirect(f"/projects/{name}", f"Project {name} was created.")
    return visit.page("project_new.html", "New project", crumbs=[SECTION])


async def project(visit: Visit) -> Response:
    """Show a project and change it."""
    form = visit.form
    name = visit.path("name")
    if form.is_sent:
        with form.checked():
            request = _update(name, form)
            if not form.errors:
                await visit.call(request)
                return visit.redirect(f"/projects/{name}", f"Project {name} was changed.")
    current: pb.Project = (await visit.call(pb.GetProjectRequest(project=name))).project
    form.start(timezone=current.timezone, **limit_texts(current), **_retention_texts(current))
    return visit.page(
        "project.html",
        f"Project {name}",
        crumbs=[SECTION],
        project=current,
        channels=_CHANNELS,
        word=word_of,
        can_change=visit.can(pb.UpdateProjectRequest, name),
    )


PAGES = (
    Page("/projects", list_projects),
    Page("/projects/new", new_project, has_form=True),
    Page("/projects/{name}", project, has_form=True),
)


def _update(name: str, form: Form) -> pb.UpdateProjectRequest:
    """Return the request of the form; notes in it which numbers are not numbers."""
    request = pb.UpdateProjectRequest(project=name, timezone=form["timezone"], etag=form["etag"])
    request.update_mask.paths.extend(("timezone", "requests_per_second", "burst", "content_retention"))
    read_limit(form, request)
    for channel in _CHANNELS:
        field = f"content_days_{channel}"
        days = whole_number(form[field], _MOST_DAYS)
        if days:
            request.content_retention.add(channel=f"CHANNEL_{channel.upper()}", days=days)
        elif form[field]:
            form.fail(
                field, f"Enter a whole number from 1 to {_MOST_DAYS}, or leave it empty for the default."
            )
    return request


def _retention_texts(shown: pb.Project) -> dict[str, str]:
    """Return what the fields show; a channel with the default of the installation is empty."""
    return {f"content_days_{word_of(one, 'channel')}": str(one.days) for one in shown.content_retention}
