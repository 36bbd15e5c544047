"""A reader of server-sent events, as the HTML standard has them read."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

__all__ = ["Event", "Events", "listening"]


@dataclass(frozen=True)
class Event:
    """One event: its name (`message` if it has none) and its data as JSON."""

    name: str
    data: Any

    @property
    def trigger_id(self) -> str:
        return str(self.data["delivery"]["trigger_id"])

    @property
    def state(self) -> str:
        return str(self.data["delivery"]["state"])


@dataclass
class Events:
    """A stream of events, and the id with which a reader would reconnect."""

    answer: httpx.Response
    last_id: str = ""
    retry: str = ""
    blocks: int = 0
    _lines: AsyncIterator[str] = field(init=False)

    def __post_init__(self) -> None:
        self._lines = self.answer.aiter_lines()

    async def block(self) -> Event:
        """Return the event of the next block of lines.

        Raises:
            StopAsyncIteration: the stream has ended.
        """
        given: dict[str, str] = {}
        while line := await anext(self._lines):
            name, _, value = line.partition(":")
            if name:  # all else is a comment
                given[name] = value.removeprefix(" ")
        self.blocks += 1
        self.last_id = given.get("id", self.last_id)
        self.retry = given.get("retry", self.retry)
        return Event(given.get("event", "message"), json.loads(given["data"]))

    async def next(self) -> Event:
        """Return the next event other than a heartbeat."""
        while (event := await self.block()).name == "heartbeat":
            pass
        return event

    async def rest(self) -> list[Event]:
        """Return all events until the stream ends."""
        found = []
        try:
            while True:
                found.append(await self.next())
        except StopAsyncIteration:
            return found


@asynccontextmanager
async def listening(
    http: httpx.AsyncClient, secret: str, *, last_event_id: str = "", **query: Any
) -> AsyncIterator[Events]:
    """Open a stream of changes for the block."""
    headers = {"authorization": f"Bearer {secret}", "accept": "text/event-stream"}
    if last_event_id:
        headers["last-event-id"] = last_event_id
    async with http.stream("GET", "/api/client/triggers:watch", params=query, headers=headers) as answer:
        if answer.is_error:
            await answer.aread()
        yield Events(answer)
