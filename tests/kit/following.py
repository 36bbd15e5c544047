"""Paths of the calls that follow triggers, and a trigger to follow."""

from __future__ import annotations

from typing import Any

import grpc
import httpx

from tests.kit.stack import EXAMPLE, Stack

TRIGGERS = "/api/client/triggers"
WATCH = f"{TRIGGERS}:watch"
UNKNOWN_ID = "00000000-0000-7000-8000-000000000000"


async def trigger(http: httpx.AsyncClient, stack: Stack, user: str) -> str:
    """Trigger a campaign; return the location that the answer names."""
    body = {**EXAMPLE, "user": {**EXAMPLE["user"], "external_id": user}}
    answer = await http.post("/api/client/campaigns/44/trigger", json=body, headers=stack.headers())
    assert answer.status_code == 204
    return str(answer.headers["location"])


async def until_it_ends(call: Any) -> None:
    while await call.read() is not grpc.aio.EOF:
        pass
