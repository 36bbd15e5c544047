"""The HTTP client for providers with an HTTP API: its settings, its requests, and its errors."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Annotated, Any

import httpx
import msgspec

from ...domain.delivery_errors import ProviderError, Verdict
from ...domain.json_limits import exceeds_depth
from ...errors import ConfigError
from ...tracing import annotate
from ..connections import BROKEN, ResolvingTransport
from .base import SendingPolicy

__all__ = ["Answer", "ApiSettings", "HttpApi", "RequestProgress", "retry_after", "verdict_of_other"]

MAX_ANSWER = 64 * 1024
"""Maximum size of an answer in bytes. It is more than any provider sends about one message."""
BODY_TIMEOUT = 5.0
"""Seconds to wait for the body after the status, which alone says whether the message was accepted."""
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_IDLE, _IDLE_HTTP2 = 5.0, 60.0
"""Seconds that a connection may be idle. Longer for HTTP/2, whose single connection is costly to open."""

Seconds = Annotated[float, msgspec.Meta(gt=0, le=3600)]


class ApiSettings(SendingPolicy, frozen=True, kw_only=True):
    """Settings of every provider with an HTTP API. Times are in seconds."""

    url: str = ""
    """The API's URL; empty for the provider's public one. http:// is allowed only for loopback addresses."""
    timeout: Seconds = 20.0
    """For one message, including the time to connect and the time until the answer."""
    concurrency: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 32
    """How many messages may be in flight at once."""
    ca_file: str | None = None
    """A PEM file of certificate authorities to trust instead of the system's."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An API's answer. `body` is the decoded JSON, or None if it is not valid JSON."""

    status: int
    headers: httpx.Headers
    body: Any
    complete: bool = True
    """Whether the whole body was received."""

    @property
    def retry_after(self) -> float | None:
        """The wait in seconds that the provider requests, or None."""
        return retry_after(self.headers)


class RequestProgress:
    """Tracks how much of a request has been sent. Pass it to httpx or httpcore as the extension `trace`.

    Attributes:
        is_sent: Whether the server may have the whole request. An incomplete one has no effect.
    """

    def __init__(self) -> None:
        self.is_sent = False

    async def __call__(self, event: str, info: Mapping[str, Any]) -> None:
        """Handle an event. Its name consists of the protocol, the step and how the step ended."""
        _, step, how = event.split(".")
        if step == "send_request_body":
            # A cancelled write may have reached the server; a failed write has not.
            self.is_sent = how != "failed" or isinstance(info["exception"], asyncio.CancelledError)


class HttpApi:
    """A pooled HTTP client for one provider."""

    _BROKEN: tuple[type[Exception], ...] = (httpx.HTTPError, httpx.StreamError, *BROKEN)
    """The errors of a connection."""

    def __init__(self, name: str, settings: ApiSettings, default_url: str, *, http2: bool = False) -> None:
        """Create a client, without connecting.

        Args:
            name: The provider's name, for errors.
            settings: The provider's settings.
            default_url: The provider's public address.
            http2: Whether to use HTTP/2 instead of HTTP/1.1.

        Raises:
            ConfigError: The URL or `ca_file` cannot be used.
        """
        self._name = name
        self._url = _checked_url(name, settings.url or default_url)
        self._tls = _tls(name, settings)
        self._http2 = http2
        self._limits = httpx.Limits(
            max_connections=settings.concurrency,
            max_keepalive_connections=settings.concurrency,
            keepalive_expiry=_IDLE_HTTP2 if http2 else _IDLE,
        )
        self._client = self._new_client()

    def _new_client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            base_url=self._url,
            transport=ResolvingTransport(self._tls, self._limits, http2=self._http2),
            timeout=httpx.Timeout(None),  # the caller of `send` cancels it
            trust_env=False,  # a proxy from the environment could read every recipient
            follow_redirects=False,
        )

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
            ProviderError: No HTTP response arrived. The text contains neither an address nor a secret. The
                verdict is IN_DOUBT if the request was sent, also if the post was cancelled after that.
        """
        progress = RequestProgress()
        request = self._client.build_request(
            "POST", path, headers=headers, content=content, data=form, extensions={"trace": progress}
        )
        basic = httpx.BasicAuth(*auth) if auth else None
        try:
            return await self._exchange(request, basic)
        except asyncio.CancelledError:
            if progress.is_sent:
                text = f"{self._name}: the request was sent, but no answer arrived in time"
                raise ProviderError(Verdict.IN_DOUBT, text) from None
            raise
        except self._BROKEN as error:
            raise self._unanswered(error, is_sent=progress.is_sent) from None

    async def _exchange(self, request: httpx.Request, auth: httpx.Auth | None) -> Answer:
        annotate(_span_attributes(request))
        answer = await self._client.send(request, auth=auth, stream=True)
        annotate({"http.response.status_code": answer.status_code})
        try:
            raw = await _read(answer)
            return Answer(answer.status_code, answer.headers, _json(raw or b""), raw is not None)
        finally:
            await answer.aclose()

    def _unanswered(self, error: Exception, *, is_sent: bool) -> ProviderError:
        verdict = Verdict.IN_DOUBT if is_sent else Verdict.PROVIDER_DOWN
        return ProviderError(verdict, f"{self._name} gave no answer: {type(error).__name__}")

    async def aclose(self) -> None:
        """Close all connections."""
        await self._client.aclose()


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds to wait according to `Retry-After` (RFC 9110, 10.2.3), or None if it is missing."""
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


def _span_attributes(request: httpx.Request) -> dict[str, str | int]:
    """Return the attributes of https://opentelemetry.io/docs/specs/semconv/http/http-spans/.

    The URL is not among them: some APIs have the recipient or an account in it.
    """
    url = request.url
    port = url.port or (443 if url.scheme == "https" else 80)
    return {"http.request.method": request.method, "server.address": url.host, "server.port": port}


def verdict_of_other(status: int) -> Verdict:
    """Return the verdict for an answer that the API does not document, such as that of a proxy before it.

    A success status without the documented body may still mean success. With 502 and 504, a gateway
    reports no answer from the server, which may have the request (RFC 9110 sections 15.6.3 and 15.6.5).
    """
    gateway = {httpx.codes.BAD_GATEWAY, httpx.codes.GATEWAY_TIMEOUT}
    in_doubt = httpx.codes.is_success(status) or status in gateway
    return Verdict.IN_DOUBT if in_doubt else Verdict.PROVIDER_DOWN


async def _read(answer: httpx.Response) -> bytes | None:
    """Return the body, or None if it is truncated. The provider must then rely on the status alone."""
    read = b""
    with contextlib.suppress(httpx.HTTPError, httpx.StreamError, *BROKEN):  # BROKEN includes TimeoutError
        async with asyncio.timeout(BODY_TIMEOUT):
            async for part in answer.aiter_bytes():
                read += part
                if len(read) > MAX_ANSWER:
                    return b""  # too long to be from this API
            return read
    return None


def _json(raw: bytes) -> Any:
    try:
        return None if exceeds_depth(raw) else json.loads(raw)
    except ValueError:
        return None


def _checked_url(name: str, text: str) -> httpx.URL:
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL:
        url = httpx.URL("")
    if url.scheme not in {"https", "http"} or not url.host or url.userinfo:
        raise ConfigError(f"providers.{name}.url: must be an address such as https://api.example.com")
    if url.scheme == "http" and url.host not in _LOOPBACK:
        raise ConfigError(
            f"providers.{name}.url: must be https, or the credentials would be sent unencrypted"
        )
    return url


def _tls(name: str, settings: ApiSettings) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=settings.ca_file)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "contains no certificate"
        raise ConfigError(f"providers.{name}.ca_file: cannot be used: {reason}") from None
