"""Posts over HTTP/2. All messages share one connection, which is replaced if it may be broken."""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter

import h2.errors
import h2.events
import h2.exceptions
import httpcore
import httpx

from ...domain.delivery_errors import ProviderError, Verdict
from ...domain.json_limits import exceeds_depth
from .http import Answer, ApiSettings, HttpApi

__all__ = ["Http2Api"]

_REASON = re.compile(r"[A-Za-z]{1,64}")


class Http2Api(HttpApi):
    """A client for an API that requires HTTP/2: up to 100 concurrent messages on one connection.

    After a post is cancelled, later ones use a new connection. If a firewall silently drops a connection, it
    looks open for about 15 minutes. Messages sent over it time out and are cancelled; later messages must not
    use it.
    """

    _BROKEN = (*HttpApi._BROKEN, h2.exceptions.H2Error, httpcore.ConnectionNotAvailable)

    def __init__(self, name: str, settings: ApiSettings, default_url: str) -> None:
        """Create a client, without connecting; for the arguments see `HttpApi`.

        Raises:
            ConfigError: The URL or `ca_file` cannot be used.
        """
        super().__init__(name, settings, default_url, http2=True)
        self._under_way: Counter[httpx.AsyncClient] = Counter()

    async def _exchange(self, request: httpx.Request, auth: httpx.Auth | None) -> Answer:
        client = self._client
        self._under_way[client] += 1
        try:
            return await super()._exchange(request, auth)
        except asyncio.CancelledError:
            if client is self._client:
                self._client = self._new_client()
            raise
        finally:
            await self._release(client)

    async def aclose(self) -> None:
        """Close all connections, including replaced ones."""
        for client in {self._client, *self._under_way}:
            await client.aclose()

    async def _release(self, client: httpx.AsyncClient) -> None:
        """Close a replaced client after its last message."""
        self._under_way[client] -= 1
        if not self._under_way[client]:
            del self._under_way[client]
            if client is not self._client:
                await client.aclose()

    def _unanswered(self, error: Exception, *, is_sent: bool) -> ProviderError:
        """Return the error for a connection that broke. A graceful shutdown is not the provider's failure."""
        goaway = _goaway(error)
        if goaway is None:
            refused = isinstance(error, httpcore.ConnectionNotAvailable)  # the stream was not processed
            return super()._unanswered(error, is_sent=is_sent and not refused)
        text = f"{self._name} closed the connection: {_reason(goaway)}"
        if goaway.error_code == h2.errors.ErrorCodes.NO_ERROR:
            return ProviderError(Verdict.LATER, text)
        # No stream up to 0 means that no request was processed (RFC 9113 section 6.8).
        doubtful = is_sent and goaway.last_stream_id != 0
        return ProviderError(Verdict.IN_DOUBT if doubtful else Verdict.PROVIDER_DOWN, text)


def _goaway(error: BaseException | None) -> h2.events.ConnectionTerminated | None:
    """Return the GOAWAY frame that caused an error of httpx, if any."""
    while error is not None:
        for part in error.args:
            if isinstance(part, h2.events.ConnectionTerminated):
                return part
        error = error.__cause__
    return None


def _reason(goaway: h2.events.ConnectionTerminated) -> str:
    """Return the reason in the frame's debug data, where APNs sends JSON as in its answers."""
    try:
        data = goaway.additional_data or b"{}"
        reason = json.loads(b"{}" if exceeds_depth(data) else data)["reason"]
    except (ValueError, KeyError, TypeError):
        reason = None
    known = isinstance(reason, str) and _REASON.fullmatch(reason)
    return reason if known else f"HTTP/2 error {int(goaway.error_code or 0)}"
