"""What protects every page: response headers, a limit of the body, and the check of a form's origin."""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .errors import NotFromThePortal, TooLarge

__all__ = ["CSP", "MAX_BODY_BYTES", "MAX_UNKNOWN_BYTES", "SANDBOX", "Protected", "require_same_origin"]

MAX_BODY_BYTES = 1024 * 1024
"""As much as the gateway passes on (gateway/config/portal.py)."""
MAX_UNKNOWN_BYTES = 64 * 1024
"""Of a form from a sender without a known session. Reading a form of 1 MiB can keep the only process busy for
0.2 s, one of this size for 12 ms."""
CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; frame-src 'self'; base-uri 'none'; frame-ancestors 'none'"
)
SANDBOX = (
    "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'self'"
)
"""For a message in a frame: it runs nothing, loads nothing, links nowhere, and has its own origin."""
_HEADERS = {
    "content-security-policy": CSP,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # Not `no-referrer`: with it, browsers send `Origin: null` with forms (Fetch, 3.2).
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


class Protected:
    """Adds headers to every response that has none of the same name, and limits the size of a body.

    Args:
        app: The application.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        received, is_complete = 0, False

        async def bounded() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > MAX_BODY_BYTES:
                raise TooLarge
            return message

        async def with_headers(message: Message) -> None:
            nonlocal is_complete
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)
            is_complete = message["type"] == "http.response.body" and not message.get("more_body")

        try:
            await self._app(scope, bounded, with_headers)
        except Exception:
            # Starlette raises a fault again after its page. uvicorn would close the connection, on which the
            # gateway may already send the next request.
            if not is_complete:
                raise


def require_same_origin(request: Request, public_url: str) -> None:
    """Check that the browser says that a form comes from the portal's own origin.

    Browsers send `Origin` with every form. A request with neither header is not from a browser.

    Raises:
        NotFromThePortal: It comes from another one, or the browser does not say.
    """
    site = request.headers.get("sec-fetch-site")
    if site is not None and site != "same-origin":
        raise NotFromThePortal
    origin = request.headers.get("origin")
    if origin is None:
        if site is None:
            raise NotFromThePortal
        return
    # Without `public_url`, the scheme is not known for certain: a proxy may terminate TLS.
    own = _origin(public_url) if public_url else ("", request.headers.get("host", "").lower())
    given = _origin(origin)
    if given[1] != own[1] or own[0] not in ("", given[0]):
        raise NotFromThePortal


def _origin(url: str) -> tuple[str, str]:
    """Return scheme and host with port.

    Raises:
        NotFromThePortal: It is not a URL.
    """
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise NotFromThePortal from error
    return parts.scheme, parts.netloc.lower()
