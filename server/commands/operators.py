"""`clarion operators`."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Any

import click

from clarion.admin.v1 import operator_pb2 as pb

from ..domain.operator import Role
from .common import echo, json_option, run, show_json, table
from .messages import as_data
from .remote import Admin, admin_options

__all__ = ["operators"]


@click.group()
def operators() -> None:
    """Create, list and revoke admin keys, which robots and people use for the admin API and the portal."""


@operators.command()
@click.option("--name", required=True, help="What or whom the key is for.")
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
@click.option("--expires-in", type=click.IntRange(1, 366), default=90, show_default=True, metavar="DAYS")
@json_option
@admin_options
def create(
    *, admin: Admin, name: str, role: str, projects: tuple[str, ...], expires_in: int, as_json: bool
) -> None:
    """Create an admin key and print its secret, which is shown only once."""
    request = pb.CreateAdminKeyRequest(
        display_name=name,
        grants=[pb.Grant(role=role, project=project) for project in projects or ("",)],
        expires_in_days=expires_in,
    )
    made = _called(admin, "CreateAdminKey", request)
    if as_json:
        show_json({**as_data(made.admin_key), "secret": made.secret})
        return
    click.echo(made.secret)
    click.echo(
        f"Admin key ID: {made.admin_key.admin_key_id}. Save the secret above: Clarion stores only its hash"
        f" and cannot show it again. It signs in to the portal, and expires in {expires_in} days.",
        err=True,
    )


@operators.command(name="list")
@json_option
@admin_options
def list_keys(*, admin: Admin, as_json: bool) -> None:
    """List admin keys, the newest first."""
    found = _called(admin, "ListAdminKeys", pb.ListAdminKeysRequest()).admin_keys
    if as_json:
        show_json([as_data(key) for key in found])
        return
    table(
        [
            {
                "ID": key.admin_key_id,
                "NAME": key.display_name,
                "SECRET": key.secret_hint,
                "GRANTS": _grants(key.grants),
                "EXPIRES": key.expire_time.ToDatetime().date(),
                "STATE": "revoked" if key.HasField("revoke_time") else "active",
            }
            for key in found
        ],
        "admin keys",
    )


@operators.command()
@click.argument("admin_key_id", type=click.UUID)
@json_option
@admin_options
def revoke(*, admin: Admin, admin_key_id: uuid.UUID, as_json: bool) -> None:
    """Revoke an admin key, by its ID, and end its sessions. All servers reject it within a second."""
    request = pb.RevokeAdminKeyRequest(admin_key_id=str(admin_key_id))
    key = _called(admin, "RevokeAdminKey", request).admin_key
    if as_json:
        show_json(as_data(key))
    else:
        echo(f"revoked {key.admin_key_id} ({key.display_name})")


@operators.group()
def sessions() -> None:
    """List and end the sessions of people who are signed in to the portal."""


@sessions.command(name="list")
@json_option
@admin_options
def list_sessions(*, admin: Admin, as_json: bool) -> None:
    """List the sessions that have not ended, the newest first."""
    found = _called(admin, "ListSessions", pb.ListSessionsRequest(), service="sessions").sessions
    if as_json:
        show_json([as_data(one) for one in found])
        return
    table(
        [
            {
                "ID": one.session_id,
                "NAME": one.display_name,
                "GRANTS": _grants(one.grants),
                "STARTED": one.create_time.ToDatetime().isoformat(" ", "minutes"),
                "LAST USED": one.last_use_time.ToDatetime().isoformat(" ", "minutes"),
                "ENDS": one.expire_time.ToDatetime().isoformat(" ", "minutes"),
            }
            for one in found
        ],
        "sessions",
    )


@sessions.command()
@click.argument("session_id", type=click.UUID)
@json_option
@admin_options
def end(*, admin: Admin, session_id: uuid.UUID, as_json: bool) -> None:
    """End a session, by its ID. All servers reject it within a second."""
    request = pb.RevokeSessionRequest(session_id=str(session_id))
    _called(admin, "RevokeSession", request, service="sessions")
    if as_json:
        show_json({"session_id": str(session_id)})
    else:
        echo(f"ended {session_id}")


def _grants(grants: Iterable[pb.Grant]) -> str:
    return ",".join(f"{one.role}@{one.project or 'all'}" for one in grants)


def _called(admin: Admin, method: str, request: Any, *, service: str = "admin_keys") -> Any:
    async def work() -> Any:
        async with admin.opened() as client:
            return await client.call(service, method, request)

    return run(work())
