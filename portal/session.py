"""The session of a person who is signed in: its cookie, and what is derived from its token.

The token is a secret of browser, portal and servers, so the portal derives CSRF tokens and signatures from it
and stores nothing.

`SameSite=Lax`, not `Strict`: links in alerts and chats lead to pages of the portal, and an OpenID provider
redirects to it. Neither can change anything, because changes are POST requests with a CSRF token.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections import OrderedDict

from starlette.requests import Request
from starlette.responses import Response

from .settings import PortalSettings

__all__ = ["Cookies", "RecentTokens", "csrf_token", "is_csrf_token"]

_TOKEN = re.compile(r"as_[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_FORM, _NOTICE = b"clarion portal form", b"clarion portal notice"
_NOTICE_SECONDS = 60
_ATTEMPT_SECONDS = 600
_MAX_NOTICE = 500
_MAX_TOKENS = 10_000


def csrf_token(session_token: str) -> str:
    """Return the token that every form of a session contains."""
    return hmac.digest(session_token.encode(), _FORM, "sha256").hex()


def is_csrf_token(given: str, session_token: str) -> bool:
    """Return whether a form contains the session's token."""
    return hmac.compare_digest(given.encode(), csrf_token(session_token).encode())


class RecentTokens:
    """Remembers, by hash, the tokens that have worked: only people with one of them may send large forms."""

    def __init__(self) -> None:
        self._known: OrderedDict[bytes, None] = OrderedDict()

    def add(self, token: str) -> None:
        """Remember a token."""
        hashed = hashlib.sha256(token.encode()).digest()
        self._known[hashed] = None
        self._known.move_to_end(hashed)
        if len(self._known) > _MAX_TOKENS:
            self._known.popitem(last=False)

    def __contains__(self, token: str | None) -> bool:
        """Return whether a token has worked."""
        return token is not None and hashlib.sha256(token.encode()).digest() in self._known


class Cookies:
    """Reads and sets the portal's cookies.

    Over TLS, they have the prefix `__Host-`, so other hosts of the same domain cannot set them (RFC 6265bis).

    Args:
        settings: The portal's settings.
    """

    def __init__(self, settings: PortalSettings) -> None:
        self._settings = settings

    def is_secure(self, request: Request) -> bool:
        """Return whether the browser uses TLS."""
        if self._settings.public_url:
            return self._settings.public_url.startswith("https:")
        return request.headers.get("x-forwarded-proto", request.url.scheme) == "https"

    def token(self, request: Request) -> str | None:
        """Return the session's token, or None if there is none or it is malformed."""
        token = request.cookies.get(self._name(request, "session"), "")
        return token if _TOKEN.fullmatch(token) else None

    def sign_in(self, request: Request, response: Response, token: str) -> None:
        """Set the session's cookie."""
        self._set(request, response, "session", token)

    def sign_out(self, request: Request, response: Response) -> None:
        """Delete the session's cookie."""
        self._set(request, response, "session", "", max_age=0)

    def put_notice(self, request: Request, response: Response, token: str, text: str) -> None:
        """Keep a text for the next page."""
        raw = text[:_MAX_NOTICE].encode()
        value = base64.urlsafe_b64encode(_signature(token, raw) + raw).decode().rstrip("=")
        self._set(request, response, "notice", value, max_age=_NOTICE_SECONDS)

    def notice(self, request: Request, token: str) -> str:
        """Return the text that the previous page left, or an empty one."""
        value = request.cookies.get(self._name(request, "notice"), "")
        try:
            raw = base64.urlsafe_b64decode(value + "=" * (-len(value) % 4))
            signature, text = raw[:32], raw[32:]
            return text.decode() if hmac.compare_digest(signature, _signature(token, text)) else ""
        except ValueError:
            return ""

    def drop_notice(self, request: Request, response: Response) -> None:
        """Delete the text of the previous page."""
        self._set(request, response, "notice", "", max_age=0)

    def put_attempt(self, request: Request, response: Response, value: str) -> None:
        """Keep an attempt to sign in at the OpenID provider."""
        self._set(request, response, "oidc", value, max_age=_ATTEMPT_SECONDS)

    def attempt(self, request: Request) -> str:
        """Return the attempt to sign in at the OpenID provider, or an empty text."""
        return request.cookies.get(self._name(request, "oidc"), "")

    def drop_attempt(self, request: Request, response: Response) -> None:
        """Delete the attempt to sign in at the OpenID provider."""
        self._set(request, response, "oidc", "", max_age=0)

    def origin(self, request: Request) -> str:
        """Return scheme and host of the gateway, as browsers reach it."""
        scheme = "https" if self.is_secure(request) else "http"
        return self._settings.public_url or f"{scheme}://{request.headers.get('host', '')}"

    def _name(self, request: Request, what: str) -> str:
        return f"{'__Host-' if self.is_secure(request) else ''}clarion-{what}"

    def _set(
        self, request: Request, response: Response, what: str, value: str, max_age: int | None = None
    ) -> None:
        secure = self.is_secure(request)
        response.set_cookie(
            self._name(request, what),
            value,
            max_age=max_age,
            path="/" if secure else self._settings.base_path,  # __Host- requires the path /
            secure=secure,
            httponly=True,
            samesite="lax",
        )


def _signature(token: str, raw: bytes) -> bytes:
    return hmac.new(token.encode(), _NOTICE + raw, hashlib.sha256).digest()
