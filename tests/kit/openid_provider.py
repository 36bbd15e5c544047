"""A small OpenID provider: discovery, keys, authorization endpoint and token endpoint, on its own socket.

It behaves, unless a test says otherwise: tests change `claims`, `metadata`, `keys`, `algorithm` and `delay`.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import html
import secrets
import socket
import time
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote_plus, urlencode

import jwt
import uvicorn
from cryptography.hazmat.primitives.asymmetric import rsa
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

__all__ = ["CLIENT_ID", "CLIENT_SECRET", "OpenIdProvider", "rsa_key", "running_provider"]

CLIENT_ID, CLIENT_SECRET = "clarion", "client secret / with : signs"
_NONE: Mapping[str, str] = {}
_DISCOVERY = "/.well-known/openid-configuration"


@dataclass
class OpenIdProvider:
    """A provider with one person, who only has to press a button."""

    issuer: str
    key: rsa.RSAPrivateKey
    claims: dict[str, Any] = field(default_factory=dict)
    """Replace those of a correct token; None removes one."""
    metadata: dict[str, Any] = field(default_factory=dict)
    jwks: Any = None
    """Replaces the document of the keys."""
    algorithm: str = "RS256"
    delay: float = 0.0
    """Seconds before each document."""
    status: int = 200
    requests: list[str] = field(default_factory=list)
    codes: dict[str, dict[str, str]] = field(default_factory=dict)

    def public_key(self, **more: str) -> dict[str, Any]:
        """Return the public key as a JSON Web Key."""
        found: dict[str, Any] = jwt.algorithms.RSAAlgorithm.to_jwk(self.key.public_key(), as_dict=True)
        return {**found, "kid": "one", "use": "sig", "alg": "RS256", **more}

    def token(
        self, nonce: str, /, *, key: Any = None, headers: Mapping[str, str] = _NONE, **more: Any
    ) -> str:
        """Return an ID token."""
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "sub": "person-1",
            "aud": CLIENT_ID,
            "exp": now + 300,
            "iat": now,
            "jti": str(uuid.uuid4()),  # so that no two tokens are equal
            "nonce": nonce,
            "email": "ada@example.com",
            "email_verified": True,
            "groups": ["staff"],
            **self.claims,
            **more,
        }
        given = {name: value for name, value in claims.items() if value is not None}
        return jwt.encode(given, key or self.key, self.algorithm, headers={"kid": "one", **headers})

    def count(self, path: str) -> int:
        """Return how often a path was requested."""
        return self.requests.count(path)

    async def discovery(self, request: Request) -> Response:
        return await self._document(
            request,
            {
                "issuer": self.issuer,
                "authorization_endpoint": f"{self.issuer}/authorize",
                "token_endpoint": f"{self.issuer}/token",
                "jwks_uri": f"{self.issuer}/keys",
                **self.metadata,
            },
        )

    async def key_set(self, request: Request) -> Response:
        found = self.jwks if self.jwks is not None else {"keys": [self.public_key()]}
        return await self._document(request, found)

    async def _document(self, request: Request, content: Any) -> Response:
        self.requests.append(request.url.path)
        await asyncio.sleep(self.delay)
        return JSONResponse(content, self.status)

    async def authorize(self, request: Request) -> Response:
        """Show the form, or go back with a code."""
        query = dict(request.query_params)
        if request.method == "GET":
            action = html.escape(f"/authorize?{urlencode(query)}")
            return HTMLResponse(
                f'<title>Provider</title><form method="post" action="{action}">'
                "<button>Continue as Ada</button></form>"
            )
        code = secrets.token_urlsafe()
        self.codes[code] = query
        answer = {"code": code, "state": query["state"], "iss": self.issuer}
        return RedirectResponse(f"{query['redirect_uri']}?{urlencode(answer)}", 303)

    async def exchange(self, request: Request) -> Response:
        """Return the tokens for a code, which works once."""
        form = await request.form()
        asked = self.codes.pop(str(form.get("code", "")), None)
        digest = hashlib.sha256(str(form.get("code_verifier", "")).encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        if (
            asked is None
            or asked["code_challenge_method"] != "S256"
            or asked["code_challenge"] != challenge
            or asked["redirect_uri"] != form.get("redirect_uri")
            or asked["client_id"] != CLIENT_ID
            or _credentials(request) != [CLIENT_ID, CLIENT_SECRET]
        ):
            return JSONResponse({"error": "invalid_grant"}, 400)
        token = self.token(asked["nonce"])
        return JSONResponse({"access_token": "unused", "token_type": "Bearer", "id_token": token})


@asynccontextmanager
async def running_provider() -> AsyncIterator[OpenIdProvider]:
    """Run a provider for the block."""
    provider = OpenIdProvider("", rsa_key())
    app = Starlette(
        routes=[
            Route(_DISCOVERY, provider.discovery),
            Route("/keys", provider.key_set),
            Route("/authorize", provider.authorize, methods=["GET", "POST"]),
            Route("/token", provider.exchange, methods=["POST"]),
        ]
    )
    config = uvicorn.Config(app, loop="none", log_config=None, lifespan="off")
    listening = socket.create_server(("127.0.0.1", 0))
    provider.issuer = f"http://127.0.0.1:{listening.getsockname()[1]}"
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        yield provider
    finally:
        server.should_exit = server.force_exit = True
        await serving
        listening.close()


def rsa_key() -> rsa.RSAPrivateKey:
    """Return a new key."""
    return rsa.generate_private_key(65537, 2048)


def _credentials(request: Request) -> list[str]:
    """Return ID and secret of the client (RFC 6749, 2.3.1)."""
    basic = request.headers.get("authorization", "").removeprefix("Basic ")
    return [unquote_plus(one) for one in base64.b64decode(basic).decode().split(":")]
