"""A caller whose key has a limit, and the responses it gets."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any

import httpx

from clarion.v1 import trigger_pb2 as pb
from server.domain.key import ApiKey, Scope, new_secret
from server.domain.limit import OwnLimit
from server.store.admin import keys, projects
from server.store.pool import Pool
from tests.kit.stack import EXAMPLE, Stack
from tests.kit.store import limit_key
from tests.kit.until import until

__all__ = ["KEYS", "TRIGGER", "Caller", "email", "info_of", "made", "scope_of"]


TRIGGER = "/api/client/campaigns/44/trigger"
KEYS = "/api/client/keys"
_names = itertools.count()


@dataclass
class Caller:
    """A key with its secret, and calls by it."""

    stack: Stack
    http: httpx.AsyncClient
    secret: str
    key: ApiKey
    headers: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self.headers = self.stack.headers(self.secret)

    async def read(self) -> httpx.Response:
        return await self.http.get(KEYS, headers=self.headers)

    async def trigger(self) -> httpx.Response:
        return await self.http.post(TRIGGER, json=EXAMPLE, headers=self.headers)

    async def until(self, status: int) -> None:
        """Read until the answer has this status."""

        async def answered() -> bool:
            return (await self.read()).status_code == status

        await until(answered, f"{status} for a read")


async def made(
    stack: Stack, pool: Pool, http: httpx.AsyncClient, limit: OwnLimit, project: str | None = None
) -> Caller:
    """Create a key with all scopes. On return, it works and none of its calls has been counted."""
    secret = new_secret()
    number = await projects.ensure_project(pool, project or f"limited-{next(_names)}")
    key = await keys.create_key(
        pool, secret, project_id=number, name="limited", scopes=set(Scope), limit=OwnLimit(0)
    )
    caller = Caller(stack, http, secret, key)
    await caller.until(200)
    if limit.rate:
        await limit_key(pool, caller.key.id, limit)
        await stack.until_in_force()  # a call with the key itself would count
    return caller


def info_of(answer: httpx.Response) -> dict[str, Any]:
    """Return the ErrorInfo of a REST answer."""
    details = answer.json()["details"]
    return next(one for one in details if one["@type"].endswith("ErrorInfo"))


def scope_of(answer: httpx.Response) -> str:
    """Check that a rate limit refused the call; return which limit."""
    assert (answer.status_code, info_of(answer)["reason"]) == (429, "RATE_LIMITED")
    return str(info_of(answer)["metadata"]["limit"])


def email() -> pb.TriggerEmailRequest:
    return pb.TriggerEmailRequest(campaign_id=44, user=pb.EmailUser(external_id="x", email="test@test.com"))
