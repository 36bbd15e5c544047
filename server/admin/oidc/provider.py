"""The OpenID provider: its discovery document and keys, fetched within limits and cached."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx
import msgspec

from ..errors import SignInUnavailable
from .settings import OidcSettings, is_safe_url

__all__ = ["Provider", "ProviderData"]

T = TypeVar("T")
_SECONDS = 4.0
"""For both documents, including the time to connect; less than the deadline of a call."""
_MAX_BYTES = 256 * 1024
_MAX_KEYS = 100
_FRESH_SECONDS = 600.0
_AGAIN_SECONDS = 30.0
"""The shortest time between two fetches because of a key that is not known yet."""
_FAILED_SECONDS = 5.0


class _Metadata(msgspec.Struct):
    """The discovery document (OpenID Connect Discovery 1.0, section 3)."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str


class _Keys(msgspec.Struct):
    """A set of keys (RFC 7517, section 5)."""

    keys: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class ProviderData:
    """What the provider publishes.

    Attributes:
        authorization_endpoint: Where people sign in.
        token_endpoint: Where a code is exchanged for an ID token.
        keys: Its public keys as JSON Web Keys.
    """

    authorization_endpoint: str
    token_endpoint: str
    keys: Sequence[dict[str, Any]]


class Provider:
    """Fetches what the provider publishes, once for all who wait for it.

    Args:
        settings: The settings, with an issuer.
        clock: Returns seconds.
    """

    def __init__(self, settings: OidcSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._task: asyncio.Task[None] | None = None
        self._found: ProviderData | str = "nothing was fetched yet"
        self._until = clock()
        self._fetched = clock()

    async def data(self, *, for_new_key: bool = False) -> ProviderData:
        """Return what the provider publishes.

        Args:
            for_new_key: Fetch it again unless that was done in the last 30 seconds.

        Raises:
            SignInUnavailable: The provider cannot be reached, or its documents cannot be used.
        """
        now = self._clock()
        is_old = now >= self._until or (for_new_key and now - self._fetched >= _AGAIN_SECONDS)
        if is_old and self._task is None:
            self._task = asyncio.create_task(self._refresh())
        if self._task:
            # Callers who do not wait for it must not be able to make it start again and again.
            await asyncio.shield(self._task)
        if isinstance(self._found, str):
            raise SignInUnavailable(f"The OpenID provider cannot be used: {self._found}.")
        return self._found

    async def _refresh(self) -> None:
        self._found = await self._fetched_or_problem()
        self._fetched = self._clock()
        self._until = self._fetched + (_FAILED_SECONDS if isinstance(self._found, str) else _FRESH_SECONDS)
        self._task = None

    async def _fetched_or_problem(self) -> ProviderData | str:
        try:
            async with asyncio.timeout(_SECONDS):
                return await self._fetch()
        except (TimeoutError, httpx.TimeoutException):
            return f"it did not answer within {_SECONDS:.0f} seconds"
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            return f"it cannot be reached ({type(error).__name__})"
        except ValueError as error:
            return str(error)

    async def _fetch(self) -> ProviderData:
        verify = _trusted(self._settings)
        async with httpx.AsyncClient(verify=verify, timeout=_SECONDS, trust_env=False) as http:
            url = f"{self._settings.issuer.rstrip('/')}/.well-known/openid-configuration"
            found = await _get(http, url, _Metadata)
            if found.issuer != self._settings.issuer:
                raise ValueError("its discovery document is of another issuer")
            if not all(
                map(is_safe_url, (found.authorization_endpoint, found.token_endpoint, found.jwks_uri))
            ):
                raise ValueError("its discovery document has a URL without TLS")
            keys = (await _get(http, found.jwks_uri, _Keys)).keys
        if len(keys) > _MAX_KEYS:
            raise ValueError(f"it has more than {_MAX_KEYS} keys")
        return ProviderData(found.authorization_endpoint, found.token_endpoint, keys)


def _trusted(settings: OidcSettings) -> ssl.SSLContext:
    if settings.issuer.startswith("https:"):
        return ssl.create_default_context(cafile=settings.ca_file or None)
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # trusts nothing; to read all authorities takes 50 ms


async def _get(http: httpx.AsyncClient, url: str, kind: type[T]) -> T:
    """Return a document.

    Raises:
        ValueError: It is not this kind of document, or too large.
    """
    name = url.rpartition("/")[2][:100]
    raw = bytearray()
    # Without compression, so that the limit is one of what is decoded.
    async with http.stream("GET", url, headers={"accept-encoding": "identity"}) as response:
        if response.status_code != httpx.codes.OK:
            raise ValueError(f"{name} has status {response.status_code}")
        async for part in response.aiter_raw():
            raw += part
            if len(raw) > _MAX_BYTES:
                raise ValueError(f"{name} is larger than {_MAX_BYTES // 1024} KiB")
    try:
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise ValueError(f"{name} is not the expected JSON") from error
