"""`clarion keys`."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Mapping

import click

from ..domain.key import ApiKey, Scope, new_secret
from ..domain.limit import OwnLimit
from ..store.admin import keys as store
from ..store.admin.projects import ensure_project, project_names
from ..store.pool import reached
from ..store.replication import changed
from .common import Invocation, as_json, echo, json_option, run, show_json, table
from .limits import in_words, limit_options, new_limit

__all__ = ["keys"]

_MAX_DAYS = 36_500
"""The longest that a key can be valid; later dates would leave the range that Python supports."""

_MAX_NAME = 100


def _check_name(_context: click.Context, _option: click.Parameter, name: str) -> str:
    if not name.strip() or len(name) > _MAX_NAME or not name.isprintable():
        raise click.BadParameter(f"must be 1 to {_MAX_NAME} printable characters")
    return name


@click.group()
def keys() -> None:
    """Create, list, limit and revoke API keys."""


@keys.command()
@click.option("--project", required=True, help="Name of the project, which is created if it does not exist.")
@click.option("--name", required=True, callback=_check_name, help="What the key is used for.")
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
@limit_options
@json_option
@click.pass_obj
def create(
    invocation: Invocation,
    *,
    project: str,
    name: str,
    scopes: tuple[str, ...],
    campaign_ids: tuple[int, ...],
    expires_in: int | None,
    rate: float | None,
    burst: int | None,
    as_json: bool,
) -> None:
    """Create a key and print its secret, which is shown only once."""
    secret = new_secret()
    expires_at = dt.datetime.now(dt.UTC) + dt.timedelta(days=expires_in) if expires_in else None

    async def work() -> ApiKey:
        async with invocation.database() as pool, changed(pool):
            return await store.create_key(
                pool,
                secret,
                project_id=await ensure_project(pool, project),
                name=name,
                scopes=[Scope(scope) for scope in scopes],
                campaign_ids=campaign_ids,
                expires_at=expires_at,
                limit=OwnLimit(rate, burst),
            )

    key = run(work())
    if as_json:
        show_json({**_shown(key), "secret": secret})
        return
    click.echo(secret)
    about = f"Key ID: {key.id}. Save the secret above: Clarion stores only its hash and cannot show it again."
    click.echo(f"{about} The key is valid within a second.", err=True)


@keys.command(name="list")
@json_option
@click.pass_obj
def list_keys(invocation: Invocation, *, as_json: bool) -> None:
    """List keys, the newest first."""

    async def work() -> tuple[list[ApiKey], Mapping[int, str]]:
        async with invocation.database() as pool, reached():
            return await store.list_keys(pool), await project_names(pool)

    found, projects = run(work())
    if as_json:
        show_json([{**_shown(key), "project": projects[key.project_id]} for key in found])
        return
    table(
        [
            {
                "ID": key.id,
                "NAME": key.name,
                "PROJECT": projects[key.project_id],
                "LIMIT": in_words(key.limit),
                "SCOPES": ",".join(sorted(key.scopes)),
                "CAMPAIGNS": ",".join(map(str, sorted(key.campaign_ids))) or "all",
                "STATE": "active" if key.works_at(dt.datetime.now(dt.UTC)) else "ended",
            }
            for key in found
        ],
        "keys",
    )


@keys.command(name="limit")
@click.argument("key_id", type=click.UUID)
@limit_options
@click.option("--default", is_flag=True, help="Reset to the limits of the configuration.")
@json_option
@click.pass_obj
def limit_key(
    invocation: Invocation,
    *,
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

    async def work() -> ApiKey:
        async with invocation.database() as pool, changed(pool):
            return await store.limit_key(pool, key_id, wanted)

    key = run(work())
    if as_json:
        show_json(_shown(key))
    else:
        echo(f"limit of key {key.id} ({key.name}): {in_words(key.limit)}")


@keys.command()
@click.argument("key_id", type=click.UUID)
@json_option
@click.pass_obj
def revoke(invocation: Invocation, *, key_id: uuid.UUID, as_json: bool) -> None:
    """Revoke a key, by its ID. All servers reject it within a second."""

    async def work() -> ApiKey:
        async with invocation.database() as pool, changed(pool):
            return await store.revoke_key(pool, key_id)

    key = run(work())
    if as_json:
        show_json(_shown(key))
    else:
        echo(f"revoked {key.id} ({key.name})")


def _shown(key: ApiKey) -> dict[str, object]:
    shown: dict[str, object] = as_json(key)
    return shown
