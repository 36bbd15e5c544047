"""What the commands share: settings, a database, and two ways to print."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec
import uvloop

from ..config import Settings, load
from ..domain.campaign import Channel
from ..errors import ConfigError, EndpointNotFound, KeyNotFound, NotFound, ProjectNotFound, StoreUnavailable
from ..postgres.embedded import EmbeddedPostgres
from ..store.pool import Pool
from ..up.data_folder import sockets_folder

__all__ = ["CHANNEL", "Invocation", "as_json", "json_option", "run", "show_json", "table"]

T = TypeVar("T")

CHANNEL = click.Choice([channel.value for channel in Channel])

_LISTINGS: Mapping[type[NotFound], str] = {
    EndpointNotFound: "clarion webhooks list",
    KeyNotFound: "clarion keys list",
    ProjectNotFound: "clarion projects list",
}

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


@dataclass(frozen=True, slots=True)
class Invocation:
    """One run of `clarion`: where its configuration is."""

    config: Path | None

    def settings(self) -> Settings:
        """Load the settings."""
        return load(self.config)

    @asynccontextmanager
    async def database(self) -> AsyncIterator[Pool]:
        """Open the configured database, or the one that `clarion up` runs from this folder."""
        from ..wiring.common import opened_pool, with_database  # noqa: PLC0415 - see server/cli.py

        settings = self.settings()
        if settings.database.url:
            async with opened_pool(settings, migrated=True) as pool:
                yield pool
            return
        data = settings.data_dir.absolute()
        clue = f"no database runs from {data}: start it with `clarion up`, or set CLARION_DATABASE_URL"
        if not data.is_dir():
            raise ConfigError(clue)
        url = EmbeddedPostgres(data, sockets_folder(data)).url
        try:
            async with opened_pool(with_database(settings, url), migrated=True) as pool:
                yield pool
        except StoreUnavailable as error:
            raise ConfigError(clue) from error


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine and return its result.

    Raises:
        ConfigError: The store has no such key, project or endpoint.
    """
    try:
        return uvloop.run(work)
    except tuple(_LISTINGS) as error:
        [number] = error.metadata.values()
        listing = _LISTINGS[type(error)]
        raise ConfigError(f"there is no {error.thing} {number}; `{listing}` shows them") from error


def as_json(value: object) -> Any:
    """Turn domain objects into what JSON knows."""
    return msgspec.to_builtins(value, enc_hook=sorted)


def show_json(value: object) -> None:
    """Print a value as JSON."""
    click.echo(json.dumps(as_json(value), indent=2, ensure_ascii=False))


def table(rows: Sequence[Mapping[str, object]]) -> None:
    """Print rows as aligned columns."""
    if not rows:
        click.echo("nothing")
        return
    shown = [
        list(rows[0]),
        *([str(cell) if cell is not None else "-" for cell in row.values()] for row in rows),
    ]
    widths = [max(len(line[n]) for line in shown) for n in range(len(shown[0]))]
    for line in shown:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
