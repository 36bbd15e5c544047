"""`clarion campaigns preview`: renders a campaign's message with sample data and prints it."""

from __future__ import annotations

import json
import sys
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from clarion.admin.v1 import campaign_pb2 as pb
from clarion.admin.v1 import project_pb2

from ..domain.campaign import Campaign, Channel
from ..domain.delivery_errors import DeliveryError
from ..domain.json_limits import MAX_DEPTH, exceeds_depth
from ..domain.locale import normal_locale
from ..domain.trigger import Trigger
from ..errors import ConfigError
from ..intake.timezones import timezone_problem
from .common import as_json, echo, json_option, show_json
from .remote import Admin, admin_options
from .which_campaign import CAMPAIGN_ID, project_of

if TYPE_CHECKING:
    from ..channels.base import Message
    from ..templates.limits import Cost

__all__ = ["json_object", "preview"]

_PARTS = ("subject", "title", "text", "html", "unsubscribe_url")
_ONE_LINE = {"subject", "title", "unsubscribe_url"}


@click.command()
@click.argument("campaign_id", type=CAMPAIGN_ID)
@click.option("--project", help="The campaign's project, if several projects have a campaign with this ID.")
@click.option(
    "--file",
    type=click.Path(path_type=Path),
    help="Read the campaign from this file.",
)
@click.option("--locale", default="", help="BCP 47 language tag of the user.")
@click.option("--timezone", default="", help="IANA time zone of the user.")
@click.option("--user", default="{}", metavar="JSON", help="Fields of the user that replace the sample data.")
@click.option("--event", default="{}", metavar="JSON|@FILE", help="Event of the trigger.")
@click.option("--part", type=click.Choice(["html", "text", "subject", "title"]), help="Print only this part.")
@json_option
@admin_options
def preview(
    *,
    admin: Admin,
    campaign_id: int,
    project: str | None,
    file: Path | None,
    part: str | None,
    as_json: bool,
    **data: str,
) -> None:
    """Render CAMPAIGN_ID with sample data, without sending it.

    Use --user for user fields that your templates read, such as '{"data": {"plan": "gold"}}'.
    """
    if file:
        campaign, zone = _from_file(file, campaign_id, project), "UTC"
    else:
        campaign, zone = _from_api(admin, campaign_id, project)
    trigger = _trigger(campaign, **data)
    message, cost = _rendered(campaign, trigger, zone)
    parts = {name: text for name in _PARTS if (text := getattr(message, _member(message, name), ""))}
    if part:
        _show_one(campaign, parts, part)
    elif as_json:
        show_json(_facts(campaign, trigger) | {"parts": parts, "cost": _cost(cost)} | _segments(message))
    else:
        _show_all(campaign, trigger, message, parts)
        _show_cost(cost)


def _member(message: Message, part: str) -> str:
    """Return the name of a part in the message: an email has a text next to its HTML."""
    return "body" if part == "text" and not hasattr(message, "text") else part


def _from_file(path: Path, campaign_id: int, project: str | None) -> Campaign:
    from ..wiring.campaign_file import find_campaign, read  # noqa: PLC0415 - see server/cli.py

    file = read(path)
    found = find_campaign(file, campaign_id) if project in {None, file.project} else None
    if found is None:
        raise ConfigError(f"{path}: the file has no campaign {campaign_id}")
    return found


def _from_api(admin: Admin, campaign_id: int, project: str | None) -> tuple[Campaign, str]:
    """Return a campaign and its project's time zone."""
    from ..admin.campaign_content import to_campaign  # noqa: PLC0415 - see server/cli.py

    where = project or project_of(admin, campaign_id)
    request = pb.GetCampaignRequest(project=where, campaign_id=str(campaign_id))
    found: pb.Campaign = admin.call("campaigns", "GetCampaign", request).campaign
    home = admin.call("projects", "GetProject", project_pb2.GetProjectRequest(project=where)).project
    applied = pb.AppliedCampaign(campaign_id=str(campaign_id), content=found.content)
    return to_campaign(applied, Campaign(0, campaign_id, "", Channel.EMAIL, ()), None), home.timezone


def _trigger(campaign: Campaign, *, locale: str, timezone: str, user: str, event: str) -> Trigger:
    """Return a trigger with the given data and sample data for the rest."""
    from ..channels import CHANNELS  # noqa: PLC0415 - see server/cli.py
    from ..intake.contract import USER_FIELDS_OF, Kind  # noqa: PLC0415 - see server/cli.py

    address = CHANNELS[campaign.channel].address
    fields = USER_FIELDS_OF[campaign.channel].values()
    sample = {field.name: "" for field in fields if field.kind is Kind.TEXT}
    sample |= {"external_id": "EXTERNAL_ID", address.field: address.sample}
    given = json_object("--user", user)
    if unknown := given.keys() - sample - {"data"}:
        raise ConfigError(
            f"--user: unknown {', '.join(sorted(unknown))}; allowed are {', '.join(sample)}, data"
        )
    member = sample | {name: value for name, value in given.items() if name != "data"}
    if wrong := [name for name, value in member.items() if not isinstance(value, str)]:
        raise ConfigError(f"--user: {', '.join(wrong)}: must be a string")
    member["timezone"] = _checked_timezone(timezone or member["timezone"])
    member["locale"] = _checked_locale(locale or member["locale"])
    return Trigger(
        uuid.UUID(int=0),
        campaign.project_id,
        campaign.id,
        campaign.channel,
        address=member.pop(address.field),
        **member,
        user_data=json.dumps(given.get("data", {})),
        event=json.dumps(json_object("--event", event)),
    )


def json_object(option: str, text: str) -> dict[str, Any]:
    """Return the JSON object in the text of an option, or in the file that `@FILE` names.

    Raises:
        ConfigError: It is something else, or nested too deep.
    """
    try:
        given = Path(text[1:]).read_bytes() if text.startswith("@") else text
    except OSError as error:
        raise ConfigError(f"{option}: cannot read {text[1:]}: {error.strerror}") from error
    if exceeds_depth(given):
        raise ConfigError(f"{option}: is nested deeper than {MAX_DEPTH} levels, which is the limit")
    try:
        value = json.loads(given)
    except ValueError as error:
        raise ConfigError(f"{option}: is not valid JSON: {error}") from error
    if not isinstance(value, dict):
        raise ConfigError(f"{option}: must be a JSON object")
    return value


def _checked_timezone(name: str) -> str:
    if problem := timezone_problem(name):
        raise ConfigError(f"timezone: {problem}")
    return name


def _checked_locale(tag: str) -> str:
    try:
        return normal_locale(tag)
    except ValueError:
        raise ConfigError(f"locale: {tag!r} is not a BCP 47 language tag, such as pt-BR") from None


def _rendered(campaign: Campaign, trigger: Trigger, zone: str) -> tuple[Message, Cost]:
    from ..templates.render import Renderer, check_templates  # noqa: PLC0415 - see server/cli.py

    problems = check_templates(campaign)
    if problems:
        raise ConfigError("\n".join(f"campaign {campaign.id}: {problem}" for problem in problems))
    try:
        return Renderer().render_with_cost(campaign, trigger, timezone_fallback=zone)
    except DeliveryError as error:
        raise ConfigError(f"campaign {campaign.id}: {error}") from error


def _facts(campaign: Campaign, trigger: Trigger) -> dict[str, object]:
    from ..templates.render import chosen_locale  # noqa: PLC0415 - see server/cli.py

    template = chosen_locale(campaign, trigger.locale)
    facts = {
        "campaign": campaign.id,
        "name": campaign.name,
        "channel": campaign.channel,
        "template": template,
    }
    return facts | {"from": campaign.sender, "to": trigger.address}


def _segments(message: Message) -> dict[str, Any]:
    """Return what the message costs to send, if it is sent as SMS."""
    return {"segments": as_json(message.segments)} if message.segments else {}


def _show_one(campaign: Campaign, parts: Mapping[str, str], part: str) -> None:
    if part not in parts:
        raise ConfigError(f"campaign {campaign.id} has no {part}, only {', '.join(parts)}")
    # A program that reads the part must get it unchanged.
    (echo if sys.stdout.isatty() else click.echo)(parts[part])


def _show_all(campaign: Campaign, trigger: Trigger, message: Message, parts: Mapping[str, str]) -> None:
    heads = {name: text for name, text in parts.items() if name in _ONE_LINE}
    for name, value in (_facts(campaign, trigger) | heads).items():
        if value:
            echo(f"{name}: {value}")
    if cost := _segments(message).get("segments"):
        click.echo(f"segments: {cost['count']} ({cost['encoding']}, {cost['units']} units)")
    for name in (name for name in parts if name not in heads):
        echo(f"\n--- {name} ---\n{parts[name].rstrip()}")


def _cost(cost: Cost) -> dict[str, object]:
    return {
        "cpu_ms": round(cost.seconds * 1000, 1),
        "loop_iterations": cost.loops,
        "output_bytes": cost.output,
    }


def _show_cost(cost: Cost) -> None:
    from ..templates.limits import MAX_LOOPS, MAX_OUTPUT, MAX_SECONDS  # noqa: PLC0415 - see server/cli.py

    click.echo(
        f"\ncost: {cost.seconds * 1000:.1f} ms of CPU (at most {MAX_SECONDS * 1000:g}), "
        f"{cost.loops:,} loop iterations (at most {MAX_LOOPS:,}) and {cost.output:,} bytes "
        f"(at most {MAX_OUTPUT:,}) in the largest part"
    )
