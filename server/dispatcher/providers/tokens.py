"""Credentials of push services: private keys from files, and tokens shared by all messages."""

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
"""Seconds before its expiry at which a token is replaced."""

Clock = Callable[[], float]
"""Returns Unix seconds, as `time.time` does."""


@dataclass(frozen=True, slots=True, repr=False)
class Token:
    """A secret that expires. It has no repr, because a repr may be logged."""

    text: str
    expires_at: float


class SharedToken:
    """A token that is fetched on demand, once for all concurrent callers."""

    def __init__(self, fetch: Callable[[], Awaitable[Token]], clock: Clock) -> None:
        """Create a token that is not fetched yet.

        Args:
            fetch: Returns a new token. It needs a timeout, because cancelling a caller does not cancel it.
            clock: Returns Unix seconds.
        """
        self._fetch = fetch
        self._clock = clock
        self._token = Token("", 0.0)
        self._fetching: asyncio.Task[Token] | None = None

    @property
    def text(self) -> str:
        """The current token, valid or not; empty if there is none."""
        return self._token.text

    async def get(self) -> str:
        """Return a token that is valid for at least `MARGIN`.

        Raises:
            ProviderError: `fetch` failed. Every waiting caller gets the error.
        """
        if self._clock() < self._token.expires_at - MARGIN:
            return self._token.text
        if self._fetching is None:
            self._fetching = asyncio.ensure_future(self._fetch())
            self._fetching.add_done_callback(self._fetched)
        return (await asyncio.shield(self._fetching)).text  # cancelling this caller leaves the others waiting

    def drop(self, text: str) -> None:
        """Discard a rejected token, unless it has been replaced already."""
        if self._token.text == text:
            self._token = Token("", 0.0)

    async def aclose(self) -> None:
        """Cancel a fetch in progress."""
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.wait([self._fetching])

    def _fetched(self, fetching: asyncio.Future[Token]) -> None:
        self._fetching = None
        if not fetching.cancelled() and fetching.exception() is None:
            self._token = fetching.result()


def read_file(setting: str, path: str) -> bytes:
    """Return the content of the file that a setting names.

    Args:
        setting: The name of the setting, for errors.
        path: The path of the file.

    Raises:
        ConfigError: The file cannot be read. The text names `setting`, but not the path, which may be the
            secret itself by mistake.
    """
    try:
        return Path(path).read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "is not a path"
        raise ConfigError(f"{setting}: cannot be read: {reason}") from None


def load_key(setting: str, pem: bytes) -> PrivateKeyTypes:
    """Return the private key in a PEM text.

    Args:
        setting: The name of the setting that the text is from, for errors.
        pem: The text.

    Raises:
        ConfigError: The key cannot be used. The text names `setting`, and does not quote the key.
    """
    try:
        return load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ConfigError(f"{setting}: contains no readable private key in PEM form") from None
