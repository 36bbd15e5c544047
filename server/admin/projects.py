"""ProjectService."""

from __future__ import annotations

from dataclasses import replace

from clarion.admin.v1 import project_pb2 as pb
from clarion.admin.v1 import project_pb2_grpc

from ..api.proto_messages import timestamp
from ..domain.campaign import Channel
from ..domain.limit import OwnLimit
from ..domain.project import Project
from ..errors import InvalidRequest, Violation
from ..intake.rules import require_valid
from ..intake.timezones import timezone_problem
from ..store.admin import projects as store
from ..store.pool import Pool, reached
from .call import AdminCall
from .change import Change, changing
from .errors import ResourceExists
from .masks import fields_to_change
from .paging import etag_of, page_of, page_start, require_etag
from .recipients import channel_of

__all__ = ["ProjectServicer"]

_DEFAULT_PAGE = 100
_CHANGEABLE = ("timezone", "requests_per_second", "burst", "content_retention")


class ProjectServicer(project_pb2_grpc.ProjectServiceServicer):
    """Manages projects.

    Args:
        pool: The database.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def ListProjects(  # noqa: N802 - gRPC's name
        self, request: pb.ListProjectsRequest, call: AdminCall
    ) -> pb.ListProjectsResponse:
        """Return a page of the projects that the caller may see."""
        require_valid(request)
        size = request.page_size or _DEFAULT_PAGE
        after = page_start(request, str)
        async with reached():
            found = await store.list_page(self._pool, call.visible, after=after or "", limit=size + 1)
        page, token = page_of(request, found, size, lambda one: one.name)
        return pb.ListProjectsResponse(projects=map(_message, page), next_page_token=token)

    async def GetProject(  # noqa: N802 - gRPC's name
        self, request: pb.GetProjectRequest, call: AdminCall
    ) -> pb.GetProjectResponse:
        """Return one project."""
        require_valid(request)
        async with reached():
            project = await call.project(self._pool, request.project)
        return pb.GetProjectResponse(project=_message(project))

    async def CreateProject(  # noqa: N802 - gRPC's name
        self, request: pb.CreateProjectRequest, call: AdminCall
    ) -> pb.CreateProjectResponse:
        """Create a project."""
        require_valid(request)
        _require_timezone(request.timezone)
        call.require()
        async with changing(self._pool, call) as change:
            project = await store.create_project(
                change.connection, request.project, request.timezone or "UTC"
            )
            if project is None:
                raise ResourceExists(f"There is already a project {request.project}.")
            await _record(change, "project.create", None, project)
        return pb.CreateProjectResponse(project=_message(project))

    async def UpdateProject(  # noqa: N802 - gRPC's name
        self, request: pb.UpdateProjectRequest, call: AdminCall
    ) -> pb.UpdateProjectResponse:
        """Change the limits or the time zone of a project."""
        require_valid(request)
        fields = _checked_fields(request)
        async with changing(self._pool, call) as change:
            project = await call.project(change.connection, request.project, lock=True)
            require_etag(request.etag, _etag(project), f"Project {project.name}")
            wanted = _changed(project, request, fields)
            if wanted != project:
                await store.update_project(change.connection, wanted)
                await _record(change, "project.update", project, wanted)
        return pb.UpdateProjectResponse(project=_message(wanted))


def _checked_fields(request: pb.UpdateProjectRequest) -> set[str]:
    """Return the fields to change.

    Raises:
        InvalidRequest: The mask names another field, or a value is wrong.
    """
    fields = fields_to_change(request, _CHANGEABLE)
    if "timezone" in fields and not request.timezone:
        raise InvalidRequest([Violation("timezone", "is required, but missing or empty", "REQUIRED")])
    _require_timezone(request.timezone)
    return fields


def _require_timezone(timezone: str) -> None:
    problem = timezone_problem(timezone) if timezone else None
    if problem:
        raise InvalidRequest([Violation("timezone", problem, "UNKNOWN_VALUE")])


def _changed(project: Project, request: pb.UpdateProjectRequest, fields: set[str]) -> Project:
    limit = project.limit
    if "requests_per_second" in fields:
        given = request.HasField("requests_per_second")
        limit = replace(limit, rate=request.requests_per_second if given else None)
    if "burst" in fields:
        limit = replace(limit, burst=request.burst if request.HasField("burst") else None)
    timezone = request.timezone if "timezone" in fields else project.timezone
    days = _content_days(request) if "content_retention" in fields else project.content_days
    return replace(project, limit=limit, timezone=timezone, content_days=days)


def _content_days(request: pb.UpdateProjectRequest) -> dict[Channel, int]:
    """Return the days of each channel.

    Raises:
        InvalidRequest: A channel is listed twice.
    """
    days: dict[Channel, int] = {}
    for position, one in enumerate(request.content_retention):
        channel = channel_of(one.channel)
        assert channel is not None  # noqa: S101 - validated
        if channel in days:
            field = f"content_retention[{position}].channel"
            raise InvalidRequest([Violation(field, f"lists {channel} a second time", "UNKNOWN_VALUE")])
        days[channel] = one.days
    return days


async def _record(change: Change, action: str, before: Project | None, after: Project) -> None:
    await change.record(
        action,
        f"project/{after.name}",
        project_id=after.id,
        before=_values(before) if before else None,
        after=_values(after),
    )


def _values(project: Project) -> dict[str, object]:
    return {
        "timezone": project.timezone,
        "requests_per_second": project.limit.rate,
        "burst": project.limit.burst,
        "content_retention": {channel.value: days for channel, days in sorted(project.content_days.items())},
    }


def _etag(project: Project) -> str:
    return etag_of(_values(project))


def _message(project: Project) -> pb.Project:
    limit: OwnLimit = project.limit
    return pb.Project(
        project=project.name,
        create_time=timestamp(project.created_at),
        timezone=project.timezone,
        requests_per_second=limit.rate,
        burst=limit.burst,
        etag=_etag(project),
        content_retention=[
            pb.ContentRetention(channel=f"CHANNEL_{channel.name}", days=days)
            for channel, days in sorted(project.content_days.items())
        ],
    )
