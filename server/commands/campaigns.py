"""`clarion campaigns`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from clarion.admin.v1 import campaign_pb2 as pb

from .campaign_drafts import draft
from .campaign_tests import test
from .common import echo, json_option, run, show_json, table
from .messages import as_data, in_lines, moment, show_list, show_one, sources
from .preview import preview
from .remote import Admin, admin_options
from .which_campaign import CAMPAIGN_ID, of_campaign, project_of

__all__ = ["campaigns"]

_SERVICE = "campaigns"
_MARKS = {"removed": "-", "added": "+", "same": " ", "skipped": "…"}


@click.group()
def campaigns() -> None:
    """Apply, list, show, preview, pause and roll back campaigns."""


for _command in (preview, draft, test):
    campaigns.add_command(_command)


@campaigns.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--overwrite", is_flag=True, help="Also replace campaigns that the portal or another file manages."
)
@json_option
@admin_options
def apply(*, admin: Admin, file: Path, overwrite: bool, as_json: bool) -> None:
    """Create or change the campaigns of a YAML or TOML FILE.

    If one is invalid, none is changed. The campaigns are then managed by the file, and read-only in the
    portal until they are released there.
    """
    from ..wiring.campaigns import apply_campaign_file  # noqa: PLC0415 - see server/cli.py

    async def work() -> dict[int, str]:
        providers = admin.configured_providers()
        async with admin.opened() as client:
            return await apply_campaign_file(client, file, providers, overwrite=overwrite)

    results = run(work())
    if as_json:
        show_json(results)
    else:
        table([{"CAMPAIGN": number, "RESULT": result} for number, result in results.items()], "campaigns")


@campaigns.command()
@click.argument("file", type=click.Path(path_type=Path))
@json_option
@admin_options
def diff(*, admin: Admin, file: Path, as_json: bool) -> None:
    """Show how the campaigns of FILE differ from those of its project. Change nothing."""
    from ..wiring.campaigns import compare_campaign_file  # noqa: PLC0415 - see server/cli.py

    async def work() -> dict[int, list[str]]:
        providers = admin.configured_providers()
        async with admin.opened() as client:
            return await compare_campaign_file(client, file, providers)

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
@of_campaign
@click.option(
    "--version", type=CAMPAIGN_ID, metavar="NUMBER", help="Show this version.  [default: the current one]"
)
def show(*, admin: Admin, campaign_id: int, project: str, version: int | None, as_json: bool) -> None:
    """Show a campaign, or a version of it, and its templates."""
    where = project or project_of(admin, campaign_id)
    if version is None:
        current = _changed(admin, "GetCampaign", campaign_id, where)
        show_one(current, _in_full(_row(current), current.content), as_json=as_json)
        return
    request = pb.GetCampaignVersionRequest(project=where, campaign_id=str(campaign_id), version=str(version))
    one: pb.CampaignVersion = admin.call(_SERVICE, "GetCampaignVersion", request).campaign_version
    show_one(one, _in_full(_version_row(one), one.content), as_json=as_json)


def _in_full(row: dict[str, object], content: pb.CampaignContent) -> str:
    """Return the text of a row and of all templates."""
    return "\n".join([in_lines({**row, "SENDER": content.sender or None}), *sources(content)])


@campaigns.command()
@of_campaign
def versions(*, admin: Admin, campaign_id: int, project: str, as_json: bool) -> None:
    """List the versions of a campaign, the newest first."""
    where = project or project_of(admin, campaign_id)
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
@of_campaign
@click.argument("older", type=CAMPAIGN_ID)
@click.argument("newer", type=CAMPAIGN_ID)
def compare(*, admin: Admin, campaign_id: int, older: int, newer: int, project: str, as_json: bool) -> None:
    """Show what changed between two versions of a campaign."""
    where = project or project_of(admin, campaign_id)
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
    @of_campaign
    def change(*, admin: Admin, campaign_id: int, project: str, as_json: bool) -> None:
        found = _changed(admin, method, campaign_id, project)
        _show(found, as_json=as_json)


_state_command("pause", "PauseCampaign", "Reject triggers of a campaign. Waiting messages are still sent.")
_state_command("resume", "ResumeCampaign", "Accept triggers of a paused or archived campaign again.")
_state_command("archive", "ArchiveCampaign", "Pause a campaign, and hide it from lists.")
_state_command("release", "ReleaseCampaign", "Make a file-managed campaign editable in the portal.")


@campaigns.command(name="rollback")
@of_campaign
@click.argument("version", type=CAMPAIGN_ID)
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
    where = project or project_of(admin, campaign_id)
    request = kind(project=where, campaign_id=str(campaign_id), **more)
    campaign: pb.Campaign = admin.call(_SERVICE, method, request).campaign
    return campaign
