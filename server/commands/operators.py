"""`clarion operators`."""

from __future__ import annotations

import uuid
from collections.abc import Iterable

import click

from clarion.admin.v1 import operator_pb2 as pb

from ..domain.operator import Role
from .common import echo, json_option, show_json
from .messages import moment, show_list, show_one, show_secret
from .remote import Admin, admin_options

__all__ = ["operators"]

_limit = click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)


@click.group()
def operators() -> None:
    """Create, list and revoke admin keys; end sessions.

    With an admin key, programs call the admin API, and people sign in to the portal.
    """


@operators.command()
@click.option("--name", required=True, help="The person or program that will use the key.")
@click.option(
    "--role",
    type=click.Choice([role.value for role in Role]),
    required=True,
    help="What the key may do; each role includes those before it.",
)
@click.option(
    "--project",
    "projects",
    multiple=True,
    help="Restrict the key to this project; repeatable.  [default: all]",
)
@click.option(
    "--expires-in",
    type=click.IntRange(1, 366),
    default=90,
    show_default=True,
    metavar="DAYS",
    help="Days until the key expires.",
)
@json_option
@admin_options
def create(
    *, admin: Admin, name: str, role: str, projects: tuple[str, ...], expires_in: int, as_json: bool
) -> None:
    """Create an admin key and print its secret.

    The secret is shown only once.
    """
    request = pb.CreateAdminKeyRequest(
        display_name=name,
        grants=[pb.Grant(role=role, project=project) for project in projects or ("",)],
        expires_in_days=expires_in,
    )
    made = admin.call("admin_keys", "CreateAdminKey", request)
    about = (
        f"Admin key ID: {made.admin_key.admin_key_id}. Save the secret above: Clarion stores only its hash"
        f" and cannot show it again. It signs in to the portal, and expires in {expires_in} days."
    )
    show_secret(made.admin_key, made.secret, about, as_json=as_json)


@operators.command(name="list")
@_limit
@json_option
@admin_options
def list_keys(*, admin: Admin, limit: int, as_json: bool) -> None:
    """List admin keys, the newest first."""
    found = admin.collect("admin_keys", "ListAdminKeys", pb.ListAdminKeysRequest(), limit)
    show_list(found, _key_row, "admin keys", as_json=as_json)


def _key_row(key: pb.AdminKey) -> dict[str, object]:
    return {
        "ID": key.admin_key_id,
        "NAME": key.display_name,
        "SECRET": key.secret_hint,
        "GRANTS": _grants(key.grants),
        "EXPIRES": key.expire_time.ToDatetime().date(),
        "STATE": "revoked" if key.HasField("revoke_time") else "active",
    }


@operators.command()
@click.argument("admin_key_id", type=click.UUID)
@json_option
@admin_options
def revoke(*, admin: Admin, admin_key_id: uuid.UUID, as_json: bool) -> None:
    """Revoke an admin key, by its ID, and end its sessions. All servers reject it within a second."""
    request = pb.RevokeAdminKeyRequest(admin_key_id=str(admin_key_id))
    key = admin.call("admin_keys", "RevokeAdminKey", request).admin_key
    show_one(key, f"revoked {key.admin_key_id} ({key.display_name})", as_json=as_json)


@operators.group()
def sessions() -> None:
    """List and end the sessions of the portal."""


@sessions.command(name="list")
@_limit
@json_option
@admin_options
def list_sessions(*, admin: Admin, limit: int, as_json: bool) -> None:
    """List the sessions that have not ended, the newest first."""
    found = admin.collect("sessions", "ListSessions", pb.ListSessionsRequest(), limit)
    show_list(found, _session_row, "sessions", as_json=as_json)


def _session_row(one: pb.Session) -> dict[str, object]:
    return {
        "ID": one.session_id,
        "NAME": one.display_name,
        "GRANTS": _grants(one.grants),
        "STARTED": moment(one.create_time),
        "LAST USED": moment(one.last_use_time),
        "ENDS": moment(one.expire_time),
    }


@sessions.command()
@click.argument("session_id", type=click.UUID)
@json_option
@admin_options
def end(*, admin: Admin, session_id: uuid.UUID, as_json: bool) -> None:
    """End a session, by its ID. All servers reject it within a second."""
    request = pb.RevokeSessionRequest(session_id=str(session_id))
    admin.call("sessions", "RevokeSession", request)
    if as_json:
        show_json({"session_id": str(session_id)})
    else:
        echo(f"ended {session_id}")


def _grants(grants: Iterable[pb.Grant]) -> str:
    return ",".join(f"{one.role}@{one.project or 'all'}" for one in grants)
