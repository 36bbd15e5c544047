"""Reports each request to the process that runs the portal, for metrics."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeAlias

from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["Observe", "Observed", "name_page"]

Observe: TypeAlias = Callable[[str, int, float], object]
"""Receives the path of a page, such as `/keys/{key_id}`, the HTTP status, and the duration in seconds."""
_OTHER = "other"
_PAGE = "observed_page"


def name_page(scope: Scope, path: str) -> None:
    """Name the page that serves a request.

    Args:
        scope: The request's.
        path: The path of the page's route, so that there are few.
    """
    scope[_PAGE] = path


class Observed:
    """Reports requests when their responses end; a page that streams, when it is closed.

    Args:
        app: Serves them.
        observe: Called for each.
    """

    def __init__(self, app: ASGIApp, observe: Observe) -> None:
        self._app = app
        self._observe = observe

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        status = 500

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watched)
        finally:
            self._observe(scope.get(_PAGE, _OTHER), status, time.perf_counter() - began)
