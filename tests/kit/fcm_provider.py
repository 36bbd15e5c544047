"""FCM providers for a server that plays Google, and the error of a failed send."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from server.channels.push import Push
from server.dispatcher.providers.fcm import FcmProvider, FcmSettings
from server.domain.delivery_errors import ProviderError
from tests.kit.fcm_api import (
    Google,
    account_file,
    push,
)
from tests.kit.http_api import http_api
from tests.kit.smtp_servers import CERTIFICATE


class FcmProviders:
    """A server that plays Google, and its providers, which are closed at the end."""

    def __init__(self, google: Google, folder: Path, closing: contextlib.AsyncExitStack) -> None:
        self.google = google
        self.file = folder / "account.json"
        self._closing = closing
        self.write()

    def write(self, **changes: object) -> None:
        self.file.write_text(account_file(self.google.api.url, **changes))

    def provider(self, **settings: object) -> FcmProvider:
        table = {
            "url": self.google.api.url,
            "service_account_file": str(self.file),
            "ca_file": str(CERTIFICATE),
        } | settings
        made = FcmProvider("fire", msgspec.convert(table, FcmSettings), Path(), clock=self.google.clock)
        self._closing.push_async_callback(made.aclose)
        return made


@contextlib.asynccontextmanager
async def fcm_providers(folder: Path, tls: ssl.SSLContext | None = None) -> AsyncIterator[FcmProviders]:
    google = Google()
    async with http_api(google.answer, tls=tls) as google.api, contextlib.AsyncExitStack() as closing:
        yield FcmProviders(google, folder, closing)


async def failure(provider: FcmProvider, message: Push | None = None) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        await asyncio.wait_for(provider.send(message or push()), 60)
    assert "APA91b" not in str(caught.value)
    assert "ya29" not in str(caught.value)
    assert "eyJ" not in str(caught.value)
    assert caught.value.__cause__ is None
    return caught.value
