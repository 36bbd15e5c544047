"""Provides what commands share: settings, the database, and output as JSON or a table."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec
import uvloop

from ..config import Settings, load
from ..domain.campaign import Channel
from ..domain.wording import printable
from ..errors import (
    CampaignNotFound,
    ConfigError,
    InvalidRequest,
    KeyNotFound,
    RequestError,
    ResourceNotFound,
    StoreUnavailable,
)
from ..postgres.embedded import EmbeddedPostgres
from ..store.pool import Pool
from ..up.data_folder import sockets_folder

__all__ = [
    "CHANNEL",
    "MOMENT",
    "Invocation",
    "WordChoice",
    "as_json",
    "as_utc",
    "echo",
    "json_option",
    "missing",
    "run",
    "show_json",
    "show_result",
    "table",
    "with_options",
]

T = TypeVar("T")


class WordChoice(click.Choice[str]):
    """Accepts an enum's values, also in the form of their gRPC names (`DELIVERY_STATE_DEAD`)."""

    def __init__(self, words: Iterable[str], prefix: str) -> None:
        """Set the allowed values and the prefix of their gRPC names."""
        super().__init__(list(words))
        self._prefix = prefix

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Convert a value, or its gRPC name, to the value."""
        word = value.removeprefix(self._prefix).lower() if value.startswith(self._prefix) else value
        return super().convert(word, param, ctx)


class Moment(click.DateTime):
    """Accepts a date or a time, with or without an offset, between the years 1 and 9999 in UTC."""

    def __init__(self) -> None:
        """Accept the formats that the help of options shows."""
        super().__init__(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S%z"])

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Convert a value to a time; in UTC, if it has an offset."""
        moment: dt.datetime = super().convert(value, param, ctx)
        try:
            return moment.astimezone(dt.UTC) if moment.tzinfo else moment
        except OverflowError:
            self.fail(f"{value!r} is not between the years 1 and 9999 in UTC", param, ctx)


CHANNEL = WordChoice([channel.value for channel in Channel], "CHANNEL_")
MOMENT = Moment()

_NOT_FOUND = {CampaignNotFound.reason, KeyNotFound.reason, ResourceNotFound.reason}
_LISTINGS: Mapping[str, str] = {
    "admin_key_id": "clarion operators list",
    "campaign_id": "clarion campaigns list",
    "endpoint_id": "clarion webhooks list",
    "key_id": "clarion keys list",
    "operation_id": "clarion operations list",
    "project_id": "clarion projects list",
    "session_id": "clarion operators sessions list",
}
"""The command that lists what is not found, by the name of its ID in the error's metadata."""

F = TypeVar("F", bound=Callable[..., Any])


def with_options(*options: Callable[[F], F]) -> Callable[[F], F]:
    """Return a decorator that adds options to a command; the help shows them in this order."""

    def add(command: F) -> F:
        for option in reversed(options):
            command = option(command)
        return command

    return add


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


@dataclass(frozen=True, slots=True)
class Invocation:
    """One run of `clarion`: the path of its configuration file, if it has one."""

    config: Path | None

    def settings(self) -> Settings:
        """Load the settings."""
        return load(self.config)

    @asynccontextmanager
    async def database(self) -> AsyncIterator[Pool]:
        """Open the configured database, or the embedded one that `clarion up` runs."""
        from ..wiring.common import opened_pool, with_database  # noqa: PLC0415 - see server/cli.py

        settings = self.settings()
        if settings.database.url:
            async with opened_pool(settings, migrated=True) as pool:
                yield pool
            return
        data = settings.data_dir.absolute()
        hint = f"no database is running in {data}; start it with `clarion up`, or set CLARION_DATABASE_URL"
        if not data.is_dir():
            raise ConfigError(hint)
        url = EmbeddedPostgres(data, sockets_folder(data)).url
        try:
            async with opened_pool(with_database(settings, url), migrated=True) as pool:
                yield pool
        except StoreUnavailable as error:
            raise ConfigError(hint) from error


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine and return its result.

    Raises:
        ConfigError: A value is invalid, or what the command names does not exist.
    """
    try:
        return uvloop.run(work)
    except InvalidRequest as error:
        problems = (f"{one.field}: {one.description}".removeprefix(": ") for one in error.violations)
        raise ConfigError("; ".join(problems) or str(error)) from error
    except RequestError as error:
        # Not by its class, which errors of a gateway lack.
        for name in error.metadata.keys() & _LISTINGS.keys() if error.reason in _NOT_FOUND else ():
            thing = name.removesuffix("_id").replace("_", " ")
            raise ConfigError(missing(thing, error.metadata[name], _LISTINGS[name])) from error
        raise


def missing(thing: str, name: str, listing: str) -> str:
    """Return the message for something that does not exist, with the command that lists what does."""
    return f"{thing} {name} is missing; `{listing}` shows what exists"


def as_utc(moment: dt.datetime | None) -> dt.datetime | None:
    """Return the time that the user entered, in UTC if it has no offset."""
    return moment if moment is None or moment.tzinfo else moment.replace(tzinfo=dt.UTC)


def as_json(value: object) -> Any:
    """Convert domain objects to values that JSON can represent."""
    return msgspec.to_builtins(value, enc_hook=sorted)


def show_json(value: object) -> None:
    """Print a value as JSON."""
    echo(json.dumps(as_json(value), indent=2, ensure_ascii=False))


def show_result(values: Mapping[str, object], text: str, *, as_json: bool) -> None:
    """Print what a command did: as JSON, or as the text that says the same to people."""
    if as_json:
        show_json(values)
    else:
        echo(text)


def echo(text: str) -> None:
    """Print text that may contain values from callers or providers."""
    click.echo(printable(text))


def table(rows: Sequence[Mapping[str, object]], things: str) -> None:
    """Print rows as aligned columns, or a message if there are no rows."""
    if not rows:
        click.echo(f"No {things} found.")
        return
    cells = [
        list(rows[0]),
        *([_cell(cell) for cell in row.values()] for row in rows),
    ]
    widths = [max(len(line[n]) for line in cells) for n in range(len(cells[0]))]
    for line in cells:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _cell(value: object) -> str:
    """Return the text of a cell, with line breaks escaped because they would look like another row."""
    return "-" if value is None else printable(str(value)).replace("\n", "\\n").replace("\t", "\\t")
