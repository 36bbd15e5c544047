"""`clarion campaigns`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from clarion.admin.v1 import campaign_pb2 as pb

from ..domain.operator import Role
from ..errors import ConfigError
from .common import Invocation, echo, json_option, run, show_json, table
from .messages import as_data, moment, show_list, show_one
from .preview import preview
from .remote import Admin, admin_options

__all__ = ["campaigns"]

_SERVICE = "campaigns"
_MARKS = {"removed": "-", "added": "+", "same": " ", "skipped": "…"}
_ID = click.IntRange(1, 2**63 - 1)
_project = click.option(
    "--project", default="", help="The campaign's project, if several projects have a campaign with this ID."
)


@click.group()
def campaigns() -> None:
    """Apply, list, show, preview, pause and roll back campaigns."""


campaigns.add_command(preview)


@campaigns.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--overwrite", is_flag=True, help="Replace campaigns that were changed in the portal.")
@json_option
@click.pass_obj
def apply(invocation: Invocation, *, file: Path, overwrite: bool, as_json: bool) -> None:
    """Write the campaigns of a YAML or TOML FILE to the database; if one is invalid, write none.

    They are then managed by the file, and read-only in the portal until they are released there.
    """
    from ..admin.client import command_line_call  # noqa: PLC0415 - see server/cli.py
    from ..wiring.campaigns import apply_campaign_file  # noqa: PLC0415
    from ..wiring.common import build_providers  # noqa: PLC0415

    providers = build_providers(invocation.settings())
    call = command_line_call(Role.AUTHOR)

    async def work() -> dict[int, str]:
        async with invocation.database() as pool:
            return (await apply_campaign_file(pool, file, providers, call, overwrite=overwrite))[1]

    results = run(work())
    if as_json:
        show_json(results)
    else:
        table([{"CAMPAIGN": number, "RESULT": result} for number, result in results.items()], "campaigns")


@campaigns.command()
@click.argument("file", type=click.Path(path_type=Path))
@json_option
@click.pass_obj
def diff(invocation: Invocation, *, file: Path, as_json: bool) -> None:
    """Show how the campaigns of FILE differ from the database. Change nothing."""
    from ..wiring.campaigns import compare_campaign_file  # noqa: PLC0415 - see server/cli.py
    from ..wiring.common import build_providers  # noqa: PLC0415

    providers = build_providers(invocation.settings())

    async def work() -> dict[int, list[str]]:
        async with invocation.database() as pool:
            return await compare_campaign_file(pool, file, providers)

    found = run(work())
    if as_json:
        show_json(found)
        return
    table(
        [
            {"CAMPAIGN": number, "DIFFERS IN": ", ".join(fields) or "nothing"}
            for number, fields in found.items()
        ],
        "campaigns",
    )


@campaigns.command(name="list")
@click.option("--project", default="", help="Only campaigns of this project.")
@click.option(
    "--state",
    type=click.Choice(["active", "paused", "archived"]),
    help="Only campaigns in this state.  [default: all that are not archived]",
)
@json_option
@admin_options
def list_campaigns(*, admin: Admin, project: str, state: str | None, as_json: bool) -> None:
    """List campaigns."""
    request = pb.ListCampaignsRequest(project=project, campaign_state=state)
    show_list(admin.collect(_SERVICE, "ListCampaigns", request), _row, "campaigns", as_json=as_json)


def _row(one: pb.Campaign) -> dict[str, object]:
    return {
        "ID": one.campaign_id,
        "NAME": one.content.display_name,
        "PROJECT": one.project,
        "CHANNEL": one.content.campaign_channel,
        "STATE": one.campaign_state,
        "PROVIDERS": ",".join(one.content.providers),
        "VERSION": one.version,
        "MANAGED BY": one.managed_by or None,
    }


@campaigns.command()
@click.argument("campaign_id", type=_ID)
@_project
@admin_options
def show(*, admin: Admin, campaign_id: int, project: str) -> None:
    """Show a campaign and its templates as JSON."""
    show_json(as_data(_changed(admin, "GetCampaign", campaign_id, project)))


@campaigns.command()
@click.argument("campaign_id", type=_ID)
@_project
@json_option
@admin_options
def versions(*, admin: Admin, campaign_id: int, project: str, as_json: bool) -> None:
    """List the versions of a campaign, the newest first."""
    where = project or _project_of(admin, campaign_id)
    request = pb.ListCampaignVersionsRequest(project=where, campaign_id=str(campaign_id))
    found = admin.collect(_SERVICE, "ListCampaignVersions", request)
    show_list(found, _version_row, "versions", as_json=as_json)


def _version_row(one: pb.CampaignVersion) -> dict[str, object]:
    return {
        "VERSION": one.version,
        "CREATED": moment(one.create_time) if one.HasField("create_time") else None,
        "BY": one.created_by or None,
        "NAME": one.content.display_name,
    }


@campaigns.command()
@click.argument("campaign_id", type=_ID)
@click.argument("older", type=_ID)
@click.argument("newer", type=_ID)
@_project
@json_option
@admin_options
def compare(*, admin: Admin, campaign_id: int, older: int, newer: int, project: str, as_json: bool) -> None:
    """Show what changed from version OLDER of a campaign to version NEWER."""
    where = project or _project_of(admin, campaign_id)
    request = pb.CompareCampaignVersionsRequest(
        project=where, campaign_id=str(campaign_id), older_version=older, newer_version=newer
    )
    found: pb.CompareCampaignVersionsResponse = admin.call(_SERVICE, "CompareCampaignVersions", request)
    if as_json:
        show_json(as_data(found))
        return
    for change in found.changes:
        echo(change.field_name)
        for line in change.diff_lines:
            echo(f"  {_MARKS[line.line_kind]} {line.text}".rstrip())
    if not found.changes:
        echo("They have the same content and state.")
    if found.truncated:
        echo("The differences are too large to show all of them.")


def _state_command(name: str, method: str, text: str) -> None:
    """Add a command that changes the state of a campaign."""

    @campaigns.command(name=name, help=text)
    @click.argument("campaign_id", type=_ID)
    @_project
    @json_option
    @admin_options
    def change(*, admin: Admin, campaign_id: int, project: str, as_json: bool) -> None:
        found = _changed(admin, method, campaign_id, project)
        _show(found, as_json=as_json)


_state_command("pause", "PauseCampaign", "Reject triggers of a campaign. What waits is still sent.")
_state_command("resume", "ResumeCampaign", "Accept triggers of a paused or archived campaign again.")
_state_command("archive", "ArchiveCampaign", "Pause a campaign, and hide it from lists.")
_state_command("release", "ReleaseCampaign", "Make a campaign of a file editable in the portal.")


@campaigns.command(name="rollback")
@click.argument("campaign_id", type=_ID)
@click.argument("version", type=_ID)
@_project
@json_option
@admin_options
def roll_back(*, admin: Admin, campaign_id: int, version: int, project: str, as_json: bool) -> None:
    """Make the content of VERSION the next version of a campaign."""
    found = _changed(admin, "RollBackCampaign", campaign_id, project, version=version)
    _show(found, as_json=as_json)


def _show(campaign: pb.Campaign, *, as_json: bool) -> None:
    text = f"campaign {campaign.campaign_id} is {campaign.campaign_state}, version {campaign.version}"
    show_one(campaign, text, as_json=as_json)


def _changed(admin: Admin, method: str, campaign_id: int, project: str, **more: Any) -> pb.Campaign:
    """Call a method that takes and returns one campaign."""
    kind = getattr(pb, f"{method}Request")
    where = project or _project_of(admin, campaign_id)
    request = kind(project=where, campaign_id=str(campaign_id), **more)
    campaign: pb.Campaign = admin.call(_SERVICE, method, request).campaign
    return campaign


def _project_of(admin: Admin, campaign_id: int) -> str:
    """Return the name of the only project that has a campaign with this ID.

    Raises:
        ConfigError: None has one, or several have.
    """
    request = pb.ListCampaignsRequest(campaign_id=str(campaign_id))
    found = admin.collect(_SERVICE, "ListCampaigns", request)
    names: list[str] = sorted(one.project for one in found)
    if not names:
        raise ConfigError(f"there is no campaign {campaign_id}; `clarion campaigns list` shows them")
    if len(names) > 1:
        raise ConfigError(
            f"several projects have a campaign {campaign_id}; add --project, one of {', '.join(names)}"
        )
    return names[0]
