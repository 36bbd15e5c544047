"""Defines attacks with a valid key of another project than that of the measured key."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..load import PATH, Connection

__all__ = ["KEYED_ATTACKS", "KeyedAttack", "write_campaigns"]

KeyedAttack = Callable[[int, str, Counter[str]], Coroutine[Any, Any, None]]
"""An attack on the gateway at this port with this key, which counts answers by status."""

_BATCH_PATH = "/api/client/triggers:batch"
_USER = {"external_id": "attacker", "email": "attacker@test.com"}
_LOOP = (
    "{% for one in event.items %}{{ one.count }} x {{ one.name }} {{ one | currency: 'EUR' }} {% endfor %}"
)
_CAMPAIGN = 44


def write_campaigns(folder: Path) -> Path:
    """Write the campaign file of the attacker's project, whose template loops over its data."""
    parts = {"subject": "Order", "text": _LOOP, "html": _LOOP}
    campaign = {
        "id": _CAMPAIGN,
        "name": "Loop",
        "channel": "email",
        "sender": "Shop <shop@example.com>",
        "providers": ["sandbox"],
        "templates": {"default": parts},
    }
    path = folder / "attacker.yaml"
    path.write_text(json.dumps({"project": "attacker", "campaigns": [campaign]}), encoding="utf-8")
    return path


async def many_values(port: int, key: str, answers: Counter[str]) -> None:
    """Send 20 triggers a second, each with 19,900 empty objects."""
    body = json.dumps({"user": _USER, "event": {"items": [{}] * 19_900}}, separators=(",", ":"))
    await _repeat(Connection(port, key), PATH, body, 0.05, answers)


async def expensive_templates(port: int, key: str, answers: Counter[str]) -> None:
    """Send a batch of 60 triggers every 5 seconds, each with as many items as an event may have."""
    item = {"campaign_id": _CAMPAIGN, "user": _USER, "event": {"items": [0] * 998}}
    await _repeat(Connection(port, key), _BATCH_PATH, json.dumps({"triggers": [item] * 60}), 5.0, answers)


async def _repeat(
    connection: Connection, path: str, body: str, interval: float, answers: Counter[str]
) -> None:
    try:
        while True:
            with suppress(ConnectionError):
                answers[str((await connection.post(path, body.encode())).status)] += 1
            await asyncio.sleep(interval)
    finally:
        connection.close()


KEYED_ATTACKS: Mapping[str, KeyedAttack] = {
    "many values": many_values,
    "expensive templates": expensive_templates,
}
