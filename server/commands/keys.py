"""`clarion keys`."""

from __future__ import annotations

import datetime as dt
import uuid

import click

from clarion.admin.v1 import api_key_pb2 as pb

from ..domain.key import KeyState, Scope
from .common import json_option, run
from .durations import duration
from .limits import in_words, limit_options, new_limit
from .messages import as_data, in_lines, limit_of, moment, show_list, show_one, show_secret
from .remote import Admin, admin_options

__all__ = ["keys"]

_MAX_DAYS = 36_500
"""The longest that a key can be valid; later dates would leave the range that Python supports."""
_LONGEST_OVERLAP = dt.timedelta(days=90)


_certificate_option = click.option(
    "--certificate",
    "certificates",
    multiple=True,
    metavar="ID",
    help="A client certificate that replaces the secret: uri:…, dns:… or sha256:…; repeatable.",
)


@click.group()
def keys() -> None:
    """Create, list, show, change, rotate and revoke API keys."""


@keys.command()
@click.option("--project", required=True, help="Name of the project, which is created if it does not exist.")
@click.option("--name", required=True, help="What the key is used for.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice([scope.value for scope in Scope]),
    default=[Scope.TRIGGER.value],
    show_default=True,
    help="What the key may do; repeatable.",
)
@click.option(
    "--campaign",
    "campaign_ids",
    multiple=True,
    type=click.IntRange(1, 2**63 - 1),
    metavar="ID",
    help="Restrict triggering and cancelling (not reading) to this campaign; repeatable.  [default: all]",
)
@click.option(
    "--expires-in",
    type=click.IntRange(1, _MAX_DAYS),
    metavar="DAYS",
    help="Days until the key expires.  [default: never]",
)
@_certificate_option
@click.option("--test", is_flag=True, help="Create a test key, whose messages are never sent.")
@limit_options
@json_option
@admin_options
def create(
    *,
    admin: Admin,
    project: str,
    name: str,
    scopes: tuple[str, ...],
    campaign_ids: tuple[int, ...],
    expires_in: int | None,
    certificates: tuple[str, ...],
    test: bool,
    rate: float | None,
    burst: int | None,
    as_json: bool,
) -> None:
    """Create a key and print its secret, which is shown only once."""
    request = pb.CreateApiKeyRequest(
        project=project,
        display_name=name,
        scopes=scopes,
        campaign_ids=campaign_ids,
        expire_time=dt.datetime.now(dt.UTC) + dt.timedelta(days=expires_in) if expires_in else None,
        requests_per_second=rate,
        burst=burst,
        kind="test" if test else "live",
        certificates=certificates,
    )

    from ..wiring.campaigns import ensure_project  # noqa: PLC0415 - see server/cli.py

    async def work() -> pb.CreateApiKeyResponse:
        async with admin.opened() as client:
            await ensure_project(client, project)
            made: pb.CreateApiKeyResponse = await client.call("api_keys", "CreateApiKey", request)
            return made

    made = run(work())
    about = f"{_about(made.api_key)} The key is valid within a second."
    show_secret(made.api_key, made.secret, about, as_json=as_json)


@keys.command(name="list")
@click.option("--project", default="", help="Only keys of this project.")
@click.option(
    "--state",
    type=click.Choice([*(one.value for one in KeyState), "usable"]),
    help="Only keys in this state; usable: active or expiring.",
)
@click.option("--kind", type=click.Choice(["live", "test"]), help="Only keys of this kind.")
@json_option
@admin_options
def list_keys(*, admin: Admin, project: str, state: str | None, kind: str | None, as_json: bool) -> None:
    """List keys, the newest first."""
    request = pb.ListApiKeysRequest(project=project, key_state=state, kind=kind)
    found = admin.collect("api_keys", "ListApiKeys", request)
    show_list(found, _row, "keys", as_json=as_json)


def _row(key: pb.ApiKey) -> dict[str, object]:
    return {
        "ID": key.key_id,
        "NAME": key.display_name,
        "PROJECT": key.project,
        "KIND": key.kind,
        "SECRET": key.secret_hint or None,
        "LIMIT": in_words(limit_of(key)),
        "SCOPES": ",".join(key.scopes),
        "CAMPAIGNS": ",".join(map(str, key.campaign_ids)) or "all",
        "CERTIFICATES": ",".join(key.certificates) or None,
        "STATE": key.key_state,
        "EXPIRES": moment(key.expire_time) if key.HasField("expire_time") else None,
        "LAST USED": moment(key.last_use_time) if key.HasField("last_use_time") else None,
    }


@keys.command()
@click.argument("key_id", type=click.UUID)
@json_option
@admin_options
def show(*, admin: Admin, key_id: uuid.UUID, as_json: bool) -> None:
    """Show a key, by its ID."""
    key = admin.call("api_keys", "GetApiKey", pb.GetApiKeyRequest(key_id=str(key_id))).api_key
    more = {
        "CREATED": moment(key.create_time),
        "CREATED BY": key.created_by or None,
        "SUCCESSOR": key.successor_id or None,
    }
    show_one(key, in_lines({**_row(key), **more}), as_json=as_json)


@keys.command(name="limit")
@click.argument("key_id", type=click.UUID)
@limit_options
@click.option("--default", is_flag=True, help="Reset to the limits of the configuration.")
@json_option
@admin_options
def limit_key(
    *,
    admin: Admin,
    key_id: uuid.UUID,
    rate: float | None,
    burst: int | None,
    default: bool,
    as_json: bool,
) -> None:
    """Set the rate limit of a key, by its ID.

    Takes effect within a second. Omitted options are reset to their defaults.
    """
    wanted = new_limit(rate, burst, default=default)
    request = pb.UpdateApiKeyRequest(key_id=str(key_id), requests_per_second=wanted.rate, burst=wanted.burst)
    request.update_mask.paths.extend(("requests_per_second", "burst"))
    key = admin.call("api_keys", "UpdateApiKey", request).api_key
    text = f"limit of key {key.key_id} ({key.display_name}): {in_words(limit_of(key))}"
    show_one(key, text, as_json=as_json)


@keys.command()
@click.argument("key_id", type=click.UUID)
@click.option("--name", help="What the key is used for.")
@click.option(
    "--expires-in",
    type=click.IntRange(1, _MAX_DAYS),
    metavar="DAYS",
    help="Days from now until the key expires.",
)
@click.option("--never-expires", is_flag=True, help="Remove the key's expiry.")
@_certificate_option
@click.option("--no-certificates", is_flag=True, help="Remove the key's certificates.")
@json_option
@admin_options
def update(
    *,
    admin: Admin,
    key_id: uuid.UUID,
    name: str | None,
    expires_in: int | None,
    never_expires: bool,
    certificates: tuple[str, ...],
    no_certificates: bool,
    as_json: bool,
) -> None:
    """Change the name, the expiry or the certificates of a key, by its ID. Takes effect within a second.

    The given certificates replace those that the key has.
    """
    if expires_in is not None and never_expires:
        raise click.UsageError("give either --expires-in or --never-expires")
    if certificates and no_certificates:
        raise click.UsageError("give either --certificate or --no-certificates")
    if not any((name is not None, expires_in is not None, never_expires, certificates, no_certificates)):
        raise click.UsageError(
            "give --name, --expires-in, --never-expires, --certificate or --no-certificates"
        )
    request = pb.UpdateApiKeyRequest(key_id=str(key_id), display_name=name, certificates=certificates)
    if certificates or no_certificates:
        request.update_mask.paths.append("certificates")
    if name is not None:
        request.update_mask.paths.append("display_name")
    if expires_in is not None:
        request.expire_time.FromDatetime(dt.datetime.now(dt.UTC) + dt.timedelta(days=expires_in))
    if expires_in is not None or never_expires:
        request.update_mask.paths.append("expire_time")
    key = admin.call("api_keys", "UpdateApiKey", request).api_key
    expiry = f"expires {moment(key.expire_time)}" if key.HasField("expire_time") else "does not expire"
    for_them = f"; certificates: {', '.join(key.certificates)}" if key.certificates else ""
    show_one(key, f"key {key.key_id} ({key.display_name}) {expiry}{for_them}", as_json=as_json)


@keys.command()
@click.argument("key_id", type=click.UUID)
@click.option(
    "--overlap",
    default="24h",
    show_default=True,
    callback=duration(_LONGEST_OVERLAP),
    help="How long the old key still works, such as 30m or 7d; 0s to end it at once.",
)
@json_option
@admin_options
def rotate(*, admin: Admin, key_id: uuid.UUID, overlap: dt.timedelta, as_json: bool) -> None:
    """Create a successor of a key, and print its secret.

    The secret is shown only once. The successor has the same rights and limits. The old key works until the
    overlap ends.
    """
    request = pb.RotateApiKeyRequest(key_id=str(key_id), overlap=overlap)
    made = admin.call("api_keys", "RotateApiKey", request)
    ends = f"The old key {made.previous_key.key_id} works until {moment(made.previous_key.expire_time)}."
    old = {"previous_key": as_data(made.previous_key)}
    show_secret(made.api_key, made.secret, f"{_about(made.api_key)} {ends}", as_json=as_json, more=old)


@keys.command()
@click.argument("key_id", type=click.UUID)
@json_option
@admin_options
def revoke(*, admin: Admin, key_id: uuid.UUID, as_json: bool) -> None:
    """Revoke a key, by its ID. All servers reject it within a second."""
    key = admin.call("api_keys", "RevokeApiKey", pb.RevokeApiKeyRequest(key_id=str(key_id))).api_key
    show_one(key, f"revoked {key.key_id} ({key.display_name})", as_json=as_json)


def _about(key: pb.ApiKey) -> str:
    saved = "Save the secret above: Clarion stores only its hash and cannot show it again."
    return f"Key ID: {key.key_id}. {saved}"
