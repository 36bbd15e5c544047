"""Applies campaign files by the admin API, and compares them with what is there."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from clarion.admin.v1 import campaign_pb2 as pb
from clarion.admin.v1 import project_pb2

from ..admin.campaign_content import content_message
from ..admin.client import AdminClient
from ..dispatcher.providers.base import Provider
from ..domain.campaign import Campaign
from ..errors import ConfigError, InvalidRequest, RequestError, ResourceNotFound
from .campaign_file import read, to_campaigns

__all__ = ["apply_campaign_file", "compare_campaign_file", "ensure_project"]

_LARGEST_CALL = 1_000_000
"""Bytes of a call through a gateway, whose limit is 1 MiB."""
_NO_PROJECT = 0


async def apply_campaign_file(
    client: AdminClient,
    path: Path,
    providers: Mapping[str, Provider] | None,
    *,
    overwrite: bool = False,
) -> dict[int, str]:
    """Write a file's campaigns, which are then managed by the file.

    Args:
        client: Calls the admin API.
        path: The file.
        providers: The configured providers; None if only the servers know them.
        overwrite: Whether to replace campaigns that were changed in the portal or by another file.

    Returns:
        What happened to each campaign by its ID: `created`, `changed` or `unchanged`.

    Raises:
        ConfigError: The file is invalid; nothing is written.
        RequestError: The file would overwrite changes, or the caller may not apply it; nothing is written.
        StoreUnavailable: The database cannot be reached.
    """
    project, campaigns = _read(path, providers)  # an invalid file creates no project
    await ensure_project(client, project)
    calls = list(_calls(project, path, campaigns, one_call=client.is_local))
    for call in calls if len(calls) > 1 else ():
        await _applied(client, path, call, overwrite=overwrite, dry_run=True)
    results = [
        result
        for call in calls
        for result in await _applied(client, path, call, overwrite=overwrite, dry_run=False)
    ]
    return {one.campaign_id: one.result for one in results}


async def compare_campaign_file(
    client: AdminClient, path: Path, providers: Mapping[str, Provider] | None
) -> dict[int, list[str]]:
    """Return how each campaign of a file differs from what is there, by ID: the fields, or `new`.

    Args:
        client: Calls the admin API.
        path: The file.
        providers: The configured providers; None if only the servers know them.

    Raises:
        ConfigError: The file is invalid.
        RequestError: The caller may not compare it.
        StoreUnavailable: The database cannot be reached.
    """
    project, campaigns = _read(path, providers)
    if not await _has_project(client, project):
        return {one.id: ["new"] for one in campaigns}
    results = [
        result
        for call in _calls(project, path, campaigns, one_call=client.is_local)
        for result in await _applied(client, path, call, overwrite=True, dry_run=True)
    ]
    return {
        one.campaign_id: ["new"] if one.result == "created" else list(one.changed_fields) for one in results
    }


async def ensure_project(client: AdminClient, name: str) -> None:
    """Create a project if the caller sees none with this name."""
    if not await _has_project(client, name):
        await client.call("projects", "CreateProject", project_pb2.CreateProjectRequest(project=name))


async def _has_project(client: AdminClient, name: str) -> bool:
    try:
        await client.call("projects", "GetProject", project_pb2.GetProjectRequest(project=name))
    except RequestError as error:
        if error.reason != ResourceNotFound.reason:
            raise
        return False
    return True


def _read(path: Path, providers: Mapping[str, Provider] | None) -> tuple[str, list[Campaign]]:
    """Return the project and the campaigns of a file."""
    file = read(path)
    return file.project, to_campaigns(file, _NO_PROJECT, providers)


def _calls(
    project: str, path: Path, campaigns: Collection[Campaign], *, one_call: bool
) -> Iterator[pb.ApplyCampaignsRequest]:
    """Yield the calls that apply the campaigns: one, or as many as the gateway's limit needs."""
    call = pb.ApplyCampaignsRequest(project=project, file_name=path.name)
    for one in campaigns:
        applied = pb.AppliedCampaign(
            campaign_id=str(one.id), content=content_message(one), campaign_state=one.state.value
        )
        is_full = call.ByteSize() + applied.ByteSize() > _LARGEST_CALL
        if is_full and call.campaigns and not one_call:
            yield call
            call = pb.ApplyCampaignsRequest(project=project, file_name=path.name)
        call.campaigns.append(applied)
    yield call


async def _applied(
    client: AdminClient, path: Path, call: pb.ApplyCampaignsRequest, *, overwrite: bool, dry_run: bool
) -> list[pb.AppliedCampaignResult]:
    """Make a call and return its results.

    Raises:
        ConfigError: A campaign is invalid; one line for each problem.
    """
    call.overwrite, call.dry_run = overwrite, dry_run
    try:
        return list((await client.call("campaigns", "ApplyCampaigns", call)).results)
    except InvalidRequest as error:
        # The servers name the position in the call, which says nothing to people.
        named = {f"campaigns[{place}]": one.campaign_id for place, one in enumerate(call.campaigns)}
        lines = []
        for one in error.violations:
            place, _, field = one.field.partition(".")
            where = f"campaign {named[place]}: {field}" if place in named else one.field
            lines.append(f"{path.name}: {where}: {one.description}")
        raise ConfigError("\n".join(lines)) from error
