"""Converts messages of the admin API for output."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import click
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from clarion.admin.v1.campaign_pb2 import CampaignContent

from ..api.proto_messages import as_json
from ..domain.limit import OwnLimit
from .common import echo, show_json, table

__all__ = [
    "as_data",
    "enum_name",
    "in_lines",
    "limit_of",
    "moment",
    "show_list",
    "show_one",
    "show_secret",
    "sources",
    "word",
]

MessageT = TypeVar("MessageT", bound=Message)


class _Limited(Protocol):
    requests_per_second: float
    burst: int

    def HasField(self, field_name: Any, /) -> bool: ...  # noqa: N802 - protobuf's name


def as_data(message: Message) -> Any:
    """Return a message as data for JSON, in the form of REST, with fields that are empty."""
    return json.loads(as_json(message, always=True))


def moment(stamp: Timestamp) -> str:
    """Return a time for a cell of a table."""
    return stamp.ToDatetime(tzinfo=dt.UTC).isoformat(timespec="seconds")


def word(message: Message, field: str) -> str:
    """Return the word of REST for the enum value of a field, such as `email`."""
    text: str = as_data(message)[field]
    return text


def enum_name(prefix: str, word: str | None) -> str | None:
    """Return the name of an enum value in requests, such as `CHANNEL_EMAIL`; None if there is no word."""
    return f"{prefix}{word.upper()}" if word else None


def in_lines(facts: Mapping[str, object]) -> str:
    """Return the cells of a row as lines, without those that are empty."""
    return "\n".join(f"{name.capitalize()}: {value}" for name, value in facts.items() if value is not None)


def sources(content: CampaignContent) -> list[str]:
    """Return the sources of all templates, each below its locale and part."""
    return [
        f"\n--- {template.locale}.{field.name} ---\n{source}"
        for template in content.templates
        for field, source in template.ListFields()
        if field.name != "locale"
    ]


def limit_of(message: _Limited) -> OwnLimit:
    """Return the rate limit in a message."""
    return OwnLimit(
        message.requests_per_second if message.HasField("requests_per_second") else None,
        message.burst if message.HasField("burst") else None,
    )


def show_list(
    found: Sequence[MessageT],
    row: Callable[[MessageT], Mapping[str, object]],
    things: str,
    *,
    as_json: bool,
) -> None:
    """Print a list as JSON or as a table.

    Args:
        found: The messages.
        row: Returns the cells of a message by the names of their columns.
        things: What they are, for an empty table.
        as_json: Whether to print JSON.
    """
    if as_json:
        show_json([as_data(one) for one in found])
    else:
        table([row(one) for one in found], things)


def show_one(message: Message, text: str, *, as_json: bool) -> None:
    """Print a message as JSON, or the text that says the same to people."""
    if as_json:
        show_json(as_data(message))
    else:
        echo(text)


def show_secret(
    made: Message, secret: str, about: str, *, as_json: bool, more: Mapping[str, object] | None = None
) -> None:
    """Print a new secret, alone on standard output; what is about it goes to standard error.

    Args:
        made: What the secret belongs to, for JSON.
        secret: The secret.
        about: What people must know about it.
        as_json: Whether to print JSON.
        more: More members of the JSON.
    """
    if as_json:
        show_json({**as_data(made), **(more or {}), "secret": secret})
        return
    click.echo(secret)
    click.echo(about, err=True)
