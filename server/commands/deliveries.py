"""`clarion deliveries`."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import click

from clarion.admin.v1 import delivery_pb2 as pb
from clarion.v1 import delivery_pb2 as client_pb

from ..domain.campaign import TEST_PROVIDER
from ..domain.delivery import AttemptOutcome, DeliveryState
from ..domain.trace import trace_id
from ..domain.waiting import Reason
from ..errors import ConfigError, DeliveryNotFound, RequestError
from .common import WordChoice, echo, json_option, show_json
from .delivery_changes import cancel, retry
from .delivery_filters import delivery_filters, filter_fields
from .delivery_message import message
from .messages import as_data, enum_name, moment, show_list, word
from .remote import Admin, admin_options

__all__ = ["deliveries"]

_STATE = WordChoice([one.value for one in DeliveryState], "DELIVERY_STATE_")
_SERVICE = "deliveries"
F = TypeVar("F", bound=Callable[..., Any])

_ENDED = {
    AttemptOutcome.DELIVERED: "delivered",
    AttemptOutcome.RETRY: "failed, will be retried,",
    AttemptOutcome.DEAD: "failed permanently",
    AttemptOutcome.LOST: "lost",
    AttemptOutcome.SUPPRESSED: "not sent",
    AttemptOutcome.IN_DOUBT: "in doubt",
}


@click.group()
def deliveries() -> None:
    """Show, cancel and retry deliveries."""


for _command in (message, retry, cancel):
    deliveries.add_command(_command)


@deliveries.command()
@click.argument("trigger_id", type=click.UUID)
@json_option
@admin_options
def show(*, admin: Admin, trigger_id: uuid.UUID, as_json: bool) -> None:
    """Show a trigger's state and attempts, and why it is waiting."""
    request = pb.GetDeliveryRequest(trigger_id=str(trigger_id))
    try:
        found: pb.DeliveryDetail = admin.call(_SERVICE, "GetDelivery", request).delivery
    except RequestError as error:
        if error.reason != DeliveryNotFound.reason:
            raise
        raise ConfigError(
            f"trigger {trigger_id} is missing; its ID is in the response's x-trigger-id header"
        ) from error
    if as_json:
        show_json(as_data(found))
        return
    for line in _history(found):
        echo(line)


def _history(found: pb.DeliveryDetail) -> Iterator[str]:
    """Yield what there is to say about a delivery."""
    one = found.summary
    yield f"{word(one, 'state')}: campaign {one.campaign_id} ({word(one, 'channel')}) for {one.external_id}"
    yield from _tests(one)
    name = f" ({found.key_name})" if found.key_name else ""
    with_key = f" with the API key {found.key_id}{name}" if found.key_id else ""
    yield f"accepted {moment(one.accept_time)}{with_key}"
    if found.traceparent:
        yield f"trace ID {trace_id(found.traceparent)}"
    if found.HasField("send_at"):
        yield f"scheduled for {moment(found.send_at)}"
    yield from map(_attempt_row, found.attempts)
    if found.HasField("waiting"):
        waiting = found.waiting
        until = f" until {moment(waiting.until)}" if waiting.HasField("until") else ""
        yield f"waiting{until}: {waiting.detail}"
    for provider in found.paused_suppressions:
        yield f"{provider} refuses too many recipients, so suppression is paused; see the dispatcher's log"
    if found.HasField("cancel_time"):
        yield f"cancelled {moment(found.cancel_time)}"
    for event in reversed(found.webhook_messages):
        yield f"webhook {event.webhook_id}: {moment(event.create_time)} {event.type}: {event.message_state}"


def _provider(name: str) -> str:
    """Return what to call a provider: that of tests is none that an operator could choose."""
    return "test (nothing is sent)" if name == TEST_PROVIDER else name


def _tests(one: pb.DeliverySummary) -> list[str]:
    """Return what to say about a test."""
    notes = {
        "test: the message is not sent": one.test,
        "test send: an author sent it to test the campaign": one.test_send,
    }
    return [note for note, applies in notes.items() if applies]


def _attempt_row(attempt: client_pb.Attempt) -> str:
    detail = attempt.error or attempt.provider_message_id
    version = f", version {attempt.campaign_version} of the campaign" if attempt.campaign_version else ""
    provider = _provider(attempt.provider) if attempt.reached_provider else "before a provider was called"
    head = f"attempt {attempt.number}: {moment(attempt.start_time)} {provider}{version}"
    ended = _ENDED[AttemptOutcome(word(attempt, "outcome"))]
    return f"{head}: {ended} after {attempt.duration.ToMilliseconds()} ms: {detail}".rstrip(" :")


@deliveries.command(name="list")
@click.option("--state", type=_STATE, help="Only deliveries in this state.")
@delivery_filters
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
@json_option
@admin_options
def list_deliveries(*, admin: Admin, state: str | None, limit: int, as_json: bool, **chosen: Any) -> None:
    """List deliveries, the newest first. `--state dead` lists the dead letters."""
    request = pb.ListDeliveriesRequest(state=enum_name("DELIVERY_STATE_", state), **filter_fields(chosen))
    found = admin.collect(_SERVICE, "ListDeliveries", request, limit)
    show_list(found, _row, "deliveries", as_json=as_json)


def _row(one: pb.DeliverySummary) -> dict[str, object]:
    return {
        "TRIGGER": one.trigger_id,
        "STATE": " ".join((word(one, "state"), *_marks(one))),
        "CAMPAIGN": one.campaign_id,
        "USER": one.external_id,
        "ACCEPTED": moment(one.accept_time),
        "ATTEMPTS": one.attempt_count,
        "PROVIDER": _provider(one.provider) or "-",
        "ERROR": one.error or "-",
    }


def _marks(one: pb.DeliverySummary) -> list[str]:
    """Return the marks of a test in a list, like those in the portal."""
    return [mark for mark, applies in {"(test)": one.test, "(test send)": one.test_send}.items() if applies]


@deliveries.command()
@click.option("--project", default="", help="Only dead letters of this project.")
@json_option
@admin_options
def groups(*, admin: Admin, project: str, as_json: bool) -> None:
    """Show the newest 5,000 dead letters, grouped by error."""
    found = admin.call(_SERVICE, "ListDeadLetterGroups", pb.ListDeadLetterGroupsRequest(project=project))
    show_list(found.dead_letter_groups, _group_row, "dead letters", as_json=as_json)


def _group_row(one: pb.DeadLetterGroup) -> dict[str, object]:
    return {
        "DEAD": one.dead_letters,
        "PROJECT": one.project,
        "CAMPAIGN": one.campaign_id,
        "PROVIDER": one.provider or "-",
        "FIRST": moment(one.first_time),
        "LAST": moment(one.last_time),
        "EXAMPLE": one.sample_trigger_id,
        "ERROR": one.error,
    }


@deliveries.command()
@json_option
@admin_options
def backlog(*, admin: Admin, as_json: bool) -> None:
    """Show how many triggers are waiting, by channel and providers.

    Also shows the age of the oldest due trigger, and why due triggers are not being sent. A + means that more
    may be waiting: at most 10,000 are counted.
    """
    found = admin.call(_SERVICE, "ListBacklog", pb.ListBacklogRequest()).backlog
    show_list(found, _backlog_row, "waiting triggers", as_json=as_json)


def _backlog_row(one: pb.Backlog) -> dict[str, object]:
    return {
        "CHANNEL": word(one, "channel"),
        "PROVIDERS": _provider(one.providers),
        "DUE": f"{one.due}{'+' * one.more_due}",
        "OLDEST DUE": f"{one.oldest_due_seconds:.1f} s",
        "LATER": f"{one.later}{'+' * one.more_later}",
        "SENDING": one.sending,
        "WAITING": _why(one),
    }


def _why(one: pb.Backlog) -> str | None:
    """Return why due triggers are not being sent; None if they are."""
    is_held = one.HasField("waiting") and one.waiting.waiting_reason != Reason.DUE
    return one.waiting.detail if is_held else None
