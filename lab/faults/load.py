"""Callers that trigger all the time, and remember what they were promised."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus

import httpx

from ..product.product import CAMPAIGN, Product
from .plan import Plan

__all__ = ["Load"]

_USER = {"external_id": "somebody", "email": "somebody@faults.example"}
_LIMITS = httpx.Limits(max_connections=100, max_keepalive_connections=100)


class Load:
    """Each call has a name, which comes back as its mail's subject: by that the two are matched.

    A call that failed is not made again: nobody knows whether it was accepted.
    """

    def __init__(self, product: Product, name: str) -> None:
        """Take whom to call, and what the names of these calls begin with."""
        self.accepted: dict[str, str] = {}
        """The trigger's id by the call that was answered 204."""
        self.refused: Counter[str] = Counter()
        """Other answers, by status or error."""
        self.name = name
        self._product = product
        self._numbers = itertools.count(1)

    @asynccontextmanager
    async def running(self, plan: Plan) -> AsyncIterator[None]:
        """Call for the block; at its end each caller hears the answer to its last call."""
        ending = asyncio.Event()
        async with self._client() as client, asyncio.TaskGroup() as group:
            for _ in range(plan.callers):
                group.create_task(self._repeat(client, plan.pause, ending))
            try:
                yield
            finally:
                ending.set()

    async def at_once(self, count: int) -> None:
        """Make so many calls at the same instant, all for one user."""
        async with self._client() as client, asyncio.TaskGroup() as group:
            for _ in range(count):
                group.create_task(self._call(client))

    def _client(self) -> httpx.AsyncClient:
        headers = {"authorization": f"Bearer {self._product.key}"}
        return httpx.AsyncClient(
            base_url=self._product.url, headers=headers, timeout=15, trust_env=False, limits=_LIMITS
        )

    async def _repeat(self, client: httpx.AsyncClient, pause: float, ending: asyncio.Event) -> None:
        while not ending.is_set():
            await self._call(client)
            await asyncio.sleep(pause)

    async def _call(self, client: httpx.AsyncClient) -> None:
        call = f"{self.name}-{next(self._numbers)}"
        body = {"user": _USER, "event": {"call": call}}
        try:
            answer = await client.post(f"/api/client/campaigns/{CAMPAIGN}/trigger", json=body)
        except httpx.TransportError as error:
            self.refused[type(error).__name__] += 1
            return
        if answer.status_code == HTTPStatus.NO_CONTENT:
            self.accepted[call] = answer.headers["x-trigger-id"]
        else:
            self.refused[str(answer.status_code)] += 1
