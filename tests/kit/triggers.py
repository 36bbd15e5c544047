"""Trigger the demo's campaigns by REST, and wait for what becomes of a trigger."""

from __future__ import annotations

import uuid
from typing import Any

import httpx

from .until import until

__all__ = ["ADDRESSES", "CHANNELS", "accepted", "delivery_in_state", "post", "trigger_id"]

CHANNELS = {"email": 44, "text": 45, "push": 46}
"""The demo's campaigns by channel."""
ADDRESSES = {
    "email": {"email": "someone@e2e.example"},
    "text": {"phone": "+12025550123"},
    "push": {"device_token": "device-token-of-e2e"},
}


async def post(
    rest: httpx.AsyncClient, channel: str = "email", *, campaign: int | None = None, **body: object
) -> httpx.Response:
    """Trigger the demo's campaign of a channel, or another campaign."""
    number = campaign or CHANNELS[channel]
    user = {"external_id": f"user-{uuid.uuid4()}", **ADDRESSES[channel]}
    return await rest.post(f"/api/client/campaigns/{number}/trigger", json={"user": user, **body})


async def accepted(
    rest: httpx.AsyncClient, channel: str = "email", *, campaign: int | None = None, **body: object
) -> str:
    """Trigger and return the trigger id."""
    return trigger_id(await post(rest, channel, campaign=campaign, **body))


def trigger_id(answer: httpx.Response) -> str:
    """Return the trigger id in the response to an accepted trigger."""
    assert answer.status_code == 204, answer.text
    assert answer.content == b""
    return str(uuid.UUID(answer.headers["x-trigger-id"]))


async def delivery_in_state(
    rest: httpx.AsyncClient, trigger_id: str, state: str = "delivered", **options: Any
) -> dict[str, Any]:
    """Return a delivery once it is in a state.

    Args:
        rest: A client of the stack.
        trigger_id: The trigger of the delivery.
        state: The state, such as `dead`.
        options: Options of the request, such as `headers`.
    """

    async def in_state() -> dict[str, Any] | None:
        answer = await rest.get(f"/api/client/deliveries/{trigger_id}", **options)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()["delivery"]
        return found if found["state"] == state else None

    delivery: dict[str, Any] | None = await until(in_state, f"delivery {trigger_id} is {state}")
    assert delivery
    return delivery
