"""APNs providers for one server, a notification, and the error of a failed send."""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from server.channels.push import Push
from server.dispatcher.providers.apns import ApnsProvider, ApnsSettings
from server.domain.delivery_errors import ProviderError
from tests.kit.apns_server import KEY_ID, TEAM_ID, TOPIC, ApnsServer
from tests.kit.smtp_servers import CERTIFICATE

KEY = ec.generate_private_key(ec.SECP256R1())
DEVICE = "80b1d4ee4a7f1d9e0c62c0e9d3a5ff00" * 2


def pem(key: Any) -> bytes:
    return bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


class ApnsProviders:
    """Makes providers for one server; closes them at the end."""

    def __init__(self, key_file: Path, closing: contextlib.AsyncExitStack) -> None:
        self.table = {"key_file": str(key_file), "key_id": KEY_ID, "team_id": TEAM_ID, "topic": TOPIC}
        self._closing = closing

    def provider(self, apns: ApnsServer, *, clock: Any = time.time, **settings: object) -> ApnsProvider:
        table = self.table | {"url": apns.url, "ca_file": str(CERTIFICATE)} | settings
        made = ApnsProvider("apple", msgspec.convert(table, ApnsSettings), Path(), clock=clock)
        self._closing.push_async_callback(made.aclose)
        return made


def push(**changes: Any) -> Push:
    fields = {"device_token": DEVICE, "title": "Grüße", "body": "Hallo Zoë 🎈", "data": {"campaign_id": "46"}}
    return Push(uuid.uuid4(), **fields | changes)


async def failure(provider: ApnsProvider, message: Push | None = None) -> ProviderError:
    message = message or push()
    with pytest.raises(ProviderError) as caught:
        await asyncio.wait_for(provider.send(message), 60)
    assert message.device_token.lower() not in str(caught.value).lower()
    assert "eyJ" not in str(caught.value)
    assert caught.value.__cause__ is None
    return caught.value
