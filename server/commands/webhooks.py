"""Defines `clarion webhooks`, which manages endpoints."""

from __future__ import annotations

import datetime as dt
import re
import uuid
from collections.abc import Awaitable, Callable

import click

from ..domain.webhook import (
    DEFAULT_OVERLAP,
    ENDPOINTS_AT_MOST,
    Endpoint,
    EndpointState,
    EventType,
    new_secret,
)
from ..errors import ConfigError, TooManyEndpoints
from ..store.admin import endpoints as store
from ..store.pool import Pool, reached
from ..store.replication import changed
from .common import Invocation, as_json, json_option, run, show_json, table
from .webhook_log import log, require_active, retry

__all__ = ["webhooks"]

_DURATION = re.compile(r"([0-9]{1,7})([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_LONGEST = dt.timedelta(days=30)


def _duration(_context: click.Context, _option: click.Parameter, text: str) -> dt.timedelta:
    """Parse a duration such as 30m."""
    found = _DURATION.fullmatch(text)
    if not found:
        raise click.BadParameter(f"{text!r} is not a duration; use a form such as 90s, 30m, 24h or 7d")
    duration = dt.timedelta(seconds=int(found[1]) * _SECONDS[found[2]])
    if duration > _LONGEST:
        raise click.BadParameter(f"{text!r} is too long; the maximum is {_LONGEST.days}d")
    return duration


@click.group()
def webhooks() -> None:
    """Manage webhook endpoints: URLs that are notified of deliveries."""


webhooks.add_command(log)
webhooks.add_command(retry)


@webhooks.command()
@click.option("--project", required=True, help="Name of the project.")
@click.option("--url", required=True, help="URL that messages are sent to: https://…")
@click.option(
    "--event",
    "events",
    multiple=True,
    type=click.Choice([event.value for event in EventType]),
    help="Send only this event; repeatable.  [default: all events]",
)
@json_option
@click.pass_obj
def create(invocation: Invocation, *, project: str, url: str, events: tuple[str, ...], as_json: bool) -> None:
    """Create an endpoint and print its secret, which is shown only once.

    The secret signs the messages to the endpoint.
    """
    from ..wiring.webhooks import check_url  # noqa: PLC0415 - see server/cli.py

    secret, wanted = new_secret(), [EventType(event) for event in events] or list(EventType)

    async def work() -> Endpoint:
        await check_url(invocation.settings(), url)
        async with invocation.database() as pool, changed(pool):
            return await store.create_endpoint(pool, project=project, url=url, events=wanted, secret=secret)

    try:
        endpoint = run(work())
    except TooManyEndpoints as error:
        raise ConfigError(
            f"project {project} already has {ENDPOINTS_AT_MOST} endpoints, which is the maximum;"
            " delete one with `clarion webhooks delete`"
        ) from error
    if as_json:
        show_json({**_shown(endpoint), "secret": secret})
        return
    click.echo(secret)
    about = f"Endpoint ID: {endpoint.id}. Save the secret above: it is not shown again."
    click.echo(f"{about} The endpoint receives events from now on.", err=True)


@webhooks.command(name="list")
@click.option("--project", help="Only endpoints of this project.")
@json_option
@click.pass_obj
def list_endpoints(invocation: Invocation, *, project: str | None, as_json: bool) -> None:
    """List endpoints, the newest first."""

    async def work() -> list[Endpoint]:
        async with invocation.database() as pool, reached():
            return await store.list_endpoints(pool, project)

    found = run(work())
    if as_json:
        show_json([_shown(endpoint) for endpoint in found])
        return
    table(
        [
            {
                "ID": one.id,
                "PROJECT": one.project,
                "URL": one.url,
                "EVENTS": ",".join(event.removeprefix("trigger.") for event in one.events),
                "STATE": f"{one.state} ({one.disabled_because})" if one.disabled_because else one.state,
            }
            for one in found
        ],
        "webhook endpoints",
    )


@webhooks.command()
@click.argument("webhook_id", type=click.UUID)
@click.option(
    "--overlap",
    default=DEFAULT_OVERLAP,
    show_default=True,
    callback=_duration,
    help="How long messages are also signed with the old secret, such as 30m or 7d; 0s to stop at once.",
)
@json_option
@click.pass_obj
def rotate(invocation: Invocation, *, webhook_id: uuid.UUID, overlap: dt.timedelta, as_json: bool) -> None:
    """Replace an endpoint's secret; the new one is shown only once. Takes effect within a second."""
    secret = new_secret()
    endpoint = _changed(
        invocation, webhook_id, lambda pool: store.rotate_secret(pool, webhook_id, secret, overlap)
    )
    if as_json:
        show_json({**_shown(endpoint), "secret": secret})
        return
    click.echo(secret)
    until = endpoint.previous_until
    rest = f"also signs until {until.isoformat(timespec='seconds')}" if until else "is no longer used"
    click.echo(f"Save the secret above: it is not shown again. The previous secret {rest}.", err=True)


@webhooks.command()
@click.argument("webhook_id", type=click.UUID)
@click.pass_obj
def disable(invocation: Invocation, *, webhook_id: uuid.UUID) -> None:
    """Stop sending to an endpoint.

    Events that occur while it is disabled are not delivered later; messages already queued stay queued.
    """
    _set_state(invocation, webhook_id, EndpointState.DISABLED)


@webhooks.command()
@click.argument("webhook_id", type=click.UUID)
@click.pass_obj
def enable(invocation: Invocation, *, webhook_id: uuid.UUID) -> None:
    """Enable a disabled endpoint.

    This includes endpoints that were disabled because they answered 410.
    """
    _set_state(invocation, webhook_id, EndpointState.ACTIVE)


@webhooks.command()
@click.argument("webhook_id", type=click.UUID)
@click.pass_obj
def delete(invocation: Invocation, *, webhook_id: uuid.UUID) -> None:
    """Delete an endpoint and its queued messages, but not its log."""
    endpoint = _changed(invocation, webhook_id, lambda pool: store.delete_endpoint(pool, webhook_id))
    click.echo(f"deleted {endpoint.id}")


@webhooks.command()
@click.argument("webhook_id", type=click.UUID)
@click.pass_obj
def test(invocation: Invocation, *, webhook_id: uuid.UUID) -> None:
    """Send the event `webhook.test` to an active endpoint."""

    async def work() -> uuid.UUID:
        async with invocation.database() as pool, changed(pool):
            await require_active(pool, webhook_id)
            return await store.send_test(pool, webhook_id)

    click.echo(run(work()))
    click.echo(f"See `clarion webhooks log {webhook_id}` for the result.", err=True)


def _set_state(invocation: Invocation, webhook_id: uuid.UUID, state: EndpointState) -> None:
    endpoint = _changed(invocation, webhook_id, lambda pool: store.set_state(pool, webhook_id, state))
    click.echo(f"{endpoint.id} is {endpoint.state}")


def _changed(
    invocation: Invocation, webhook_id: uuid.UUID, change: Callable[[Pool], Awaitable[Endpoint]]
) -> Endpoint:
    async def work() -> Endpoint:
        async with invocation.database() as pool, changed(pool):
            return await change(pool)

    return run(work())


def _shown(endpoint: Endpoint) -> dict[str, object]:
    shown: dict[str, object] = as_json(endpoint)
    return shown
