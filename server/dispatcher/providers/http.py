"""What providers with an HTTP API share: one client, bounded answers, and what goes wrong on the way."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Annotated, Any

import httpx
import msgspec

from ...errors import ConfigError, ProviderError, Verdict
from .base import SendingPolicy

__all__ = ["Answer", "ApiSettings", "HttpApi", "retry_after"]

MAX_ANSWER = 64 * 1024
"""Bytes of an answer that are read; no provider says more about one message."""
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_IDLE, _IDLE_HTTP2 = 5.0, 60.0
"""Seconds that a connection may idle: one of HTTP/2 is dear, and the only one."""

Seconds = Annotated[float, msgspec.Meta(gt=0, le=3600)]


class ApiSettings(SendingPolicy, frozen=True, kw_only=True):
    """Settings of every provider with an HTTP API. Times in seconds."""

    url: str = ""
    """Where the API is; empty: the provider's own address. Plain http is for this machine alone."""
    timeout: Seconds = 20.0
    """For one message, connecting included."""
    concurrency: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 32
    """How many messages may be under way at once."""
    ca_file: str | None = None
    """A PEM file of the authorities to trust instead of the system's."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What an API answered. `body` is its JSON, or None if it is none."""

    status: int
    headers: httpx.Headers
    body: Any
    complete: bool = True
    """False: the connection broke off in the body."""

    @property
    def retry_after(self) -> float | None:
        """Seconds that the provider asks to wait, or None."""
        return retry_after(self.headers)


class HttpApi:
    """One pooled client for one provider."""

    def __init__(self, name: str, settings: ApiSettings, default_url: str, *, http2: bool = False) -> None:
        """Take the provider's name for errors, its settings and its public address.

        Raises:
            ConfigError: the address or the file of authorities is unusable.
        """
        self._name = name
        url = _checked_url(name, settings.url or default_url)
        limits = httpx.Limits(
            max_connections=settings.concurrency,
            max_keepalive_connections=settings.concurrency,
            keepalive_expiry=_IDLE_HTTP2 if http2 else _IDLE,
        )
        self._new_client = partial(
            httpx.AsyncClient,
            base_url=url,
            http1=not http2,
            http2=http2,
            verify=_tls(name, settings),
            timeout=None,  # whoever calls `send` ends it
            limits=limits,
            trust_env=False,  # a proxy in the environment would see every recipient
            follow_redirects=False,
        )
        self._client = self._new_client()

    async def post(
        self,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        form: Mapping[str, str] | None = None,
        auth: tuple[str, str] | None = None,
    ) -> Answer:
        """Post once and return the answer, whatever its status.

        Raises:
            ProviderError: No HTTP response arrived. The text contains neither an address nor a secret.
        """
        request = self._client.build_request("POST", path, headers=headers, content=content, data=form)
        basic = httpx.BasicAuth(*auth) if auth else None
        try:
            answer = await self._client.send(request, auth=basic, stream=True)
            try:
                raw = await _read(answer)
                return Answer(answer.status_code, answer.headers, _json(raw or b""), raw is not None)
            finally:
                await answer.aclose()
        except (httpx.HTTPError, httpx.StreamError, OSError) as error:
            raise self._unanswered(error) from None

    def _unanswered(self, error: Exception) -> ProviderError:
        return ProviderError(Verdict.PROVIDER_DOWN, f"{self._name} gave no answer: {type(error).__name__}")

    async def aclose(self) -> None:
        """Close all connections."""
        await self._client.aclose()


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds of a `Retry-After` header (RFC 9110, 10.2.3), given in seconds or as a date."""
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdecimal():
        return float(text[:9])
    try:
        moment = parsedate_to_datetime(text)
    except (TypeError, ValueError, OverflowError):
        return None
    if moment.tzinfo is None:
        return None
    return max(0.0, (moment - dt.datetime.now(dt.UTC)).total_seconds())


async def _read(answer: httpx.Response) -> bytes | None:
    """Return the body, or None of one that breaks off: the status had said yes or no before it."""
    read = b""
    with contextlib.suppress(httpx.HTTPError, httpx.StreamError):
        async for part in answer.aiter_bytes():
            read += part
            if len(read) > MAX_ANSWER:
                return b""  # not the answer of this API
        return read
    return None


def _json(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        return None


def _checked_url(name: str, text: str) -> httpx.URL:
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL:
        url = httpx.URL("")
    if url.scheme not in {"https", "http"} or not url.host or url.userinfo:
        raise ConfigError(f"providers.{name}.url: must be an address such as https://api.example.com")
    if url.scheme == "http" and url.host not in _LOOPBACK:
        raise ConfigError(f"providers.{name}.url: must be https, or the credentials would be sent in clear")
    return url


def _tls(name: str, settings: ApiSettings) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=settings.ca_file)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "holds no certificate"
        raise ConfigError(f"providers.{name}.ca_file: cannot be used: {reason}") from None
