"""Credentials of push services: private keys out of files, and tokens that many sends share."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from ...errors import ConfigError

__all__ = ["Clock", "SharedToken", "Token", "load_key", "read_file"]

MARGIN = 60.0
"""Seconds before its end from which a token is not used any more."""

Clock = Callable[[], float]
"""Seconds since 1970, as `time.time` tells them."""


@dataclass(frozen=True, slots=True, repr=False)
class Token:
    """A secret that ends. It has no repr: that would end in logs."""

    text: str
    expires_at: float


class SharedToken:
    """A token that is fetched when it is needed, once for all who wait."""

    def __init__(self, fetch: Callable[[], Awaitable[Token]], clock: Clock) -> None:
        """Take how to fetch a token. `fetch` must come to an end by itself: no waiter ends it."""
        self._fetch = fetch
        self._clock = clock
        self._token = Token("", 0.0)
        self._fetching: asyncio.Task[Token] | None = None

    @property
    def text(self) -> str:
        """The token as it stands, good or not; empty if there is none."""
        return self._token.text

    async def get(self) -> str:
        """Return a token that is good for a while.

        Raises:
            ProviderError: Raised by `fetch`; every waiting caller gets it.
        """
        if self._clock() < self._token.expires_at - MARGIN:
            return self._token.text
        if self._fetching is None:
            self._fetching = asyncio.ensure_future(self._fetch())
            self._fetching.add_done_callback(self._fetched)
        return (await asyncio.shield(self._fetching)).text  # others wait on when this send is cancelled

    def drop(self, text: str) -> None:
        """Use a token no more: it was refused. One that has come since stays."""
        if self._token.text == text:
            self._token = Token("", 0.0)

    async def aclose(self) -> None:
        """End a fetch that is under way."""
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.wait([self._fetching])

    def _fetched(self, fetching: asyncio.Future[Token]) -> None:
        self._fetching = None
        if not fetching.cancelled() and fetching.exception() is None:
            self._token = fetching.result()


def read_file(place: str, path: str) -> bytes:
    """Return a file's content.

    Raises:
        ConfigError: names `place`, the setting. It holds neither the path nor the content: somebody may
            have put the one where the other belongs.
    """
    try:
        return Path(path).read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "is not a path"
        raise ConfigError(f"{place}: cannot be read: {reason}") from None


def load_key(place: str, pem: bytes) -> PrivateKeyTypes:
    """Return the private key of a PEM text.

    Raises:
        ConfigError: names `place`, the setting, and holds nothing of the key.
    """
    try:
        return load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ConfigError(f"{place}: holds no private key in PEM form that can be read") from None
