"""Responses whose parts are sent while later parts are still being generated."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing

from starlette.responses import StreamingResponse
from starlette.types import Send

__all__ = ["Streamed"]


class Streamed(StreamingResponse):
    """A streaming response that closes its generator as soon as the client disconnects.

    Starlette leaves a generator that waits for a slow client to the garbage collector. Until it is collected,
    it would count as one of the person's streams, and its list would be read.

    Args:
        parts: Yields the parts.
        media_type: The content type.
        headers: More headers.
    """

    def __init__(self, parts: AsyncGenerator[str, None], media_type: str, headers: Mapping[str, str]) -> None:
        super().__init__(parts, media_type=media_type, headers=headers)
        self._parts = parts

    async def stream_response(self, send: Send) -> None:
        """Send the parts, and close their generator even if sending fails."""
        async with aclosing(self._parts):
            await super().stream_response(send)
