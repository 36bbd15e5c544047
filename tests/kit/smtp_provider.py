"""An email, an SMTP provider, and the error of a failed send."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from server.channels.email_message import Email, message_id_for
from server.dispatcher.providers import build
from server.dispatcher.providers.base import Provider
from server.domain.delivery_errors import ProviderError

ADDRESS = "zoe.sommer@example.org"
SENDER = "Shöp <shop@example.com>"


def make_email(**changes: str) -> Email:
    trigger_id = uuid.uuid4()
    fields = {
        "sender": SENDER,
        "to": ADDRESS,
        "subject": "Grüße",
        "text": "Hallo\n.\nZoë",
        "html": "<p>Hallo</p>",
        "list_id": "campaign-9.project-1.clarion.example.com",
    }
    return Email(trigger_id, message_id_for(trigger_id, SENDER), **fields | changes)


@contextlib.asynccontextmanager
async def provider_for(port: int, **settings: object) -> AsyncIterator[Provider]:
    table = {"type": "smtp", "host": "127.0.0.1", "port": port, "security": "none", **settings}
    provider = build("mail", table, data_dir=Path())
    try:
        yield provider
    finally:
        await provider.aclose()


async def failure(provider: Provider, message: Email | None = None) -> ProviderError:
    """Send a message that is not accepted, and return the error, which must not name the recipient."""
    with pytest.raises(ProviderError) as caught:
        await asyncio.wait_for(provider.send(message or make_email()), 60)
    assert "sommer" not in str(caught.value).lower()
    assert "sommer" not in repr(caught.value.__cause__).lower()
    return caught.value
