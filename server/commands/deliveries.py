"""`clarion deliveries`."""

from __future__ import annotations

import uuid

import click

from ..domain.delivery import Attempt, AttemptOutcome, Delivery
from ..errors import ConfigError
from ..store import deliveries as store
from ..store.pool import reached
from .common import Invocation, json_option, run, show_json

__all__ = ["deliveries"]

_ENDED = {
    AttemptOutcome.DELIVERED: "delivered",
    AttemptOutcome.RETRY: "failed, to be tried again,",
    AttemptOutcome.DEAD: "failed for good",
    AttemptOutcome.LOST: "lost",
}


@click.group()
def deliveries() -> None:
    """See what became of triggers."""


@deliveries.command()
@click.argument("trigger_id", type=click.UUID)
@json_option
@click.pass_obj
def show(invocation: Invocation, *, trigger_id: uuid.UUID, as_json: bool) -> None:
    """Show the state and all attempts of a trigger."""

    async def work() -> Delivery | None:
        async with invocation.database() as pool, reached():
            return await store.find_delivery(pool, trigger_id)

    found = run(work())
    if found is None:
        raise ConfigError(f"there is no trigger {trigger_id}; its id is the answer's x-trigger-id")
    if as_json:
        show_json(found)
        return
    click.echo(f"{found.state}: campaign {found.campaign_id} ({found.channel}) for {found.external_id}")
    click.echo(f"accepted {found.accepted_at.isoformat()}")
    for attempt in found.attempts:
        click.echo(_line(attempt))
    if found.next_attempt_at:
        click.echo(f"next attempt {found.next_attempt_at.isoformat()}")


def _line(attempt: Attempt) -> str:
    said = attempt.error or attempt.provider_message_id
    head = f"attempt {attempt.number}: {attempt.started_at.isoformat()} {attempt.provider}"
    return f"{head}: {_ENDED[attempt.outcome]} after {attempt.duration * 1000:.0f} ms: {said}".rstrip(" :")
