"""The client of the OpenID provider: where people sign in, and the ID token for a code."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import secrets
import ssl
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlencode

import httpx

from clarion.admin.v1 import operator_pb2 as pb

from .api import AdminApi, Caller
from .errors import ApiError, PortalError

__all__ = ["Attempt", "KeptForms", "OidcClient", "SignInFailed", "challenge_of"]

_FRESH_SECONDS = 5.0
_EXCHANGE_SECONDS = 10.0
_BROKEN = (TimeoutError, httpx.HTTPError, httpx.InvalidURL, OSError, ValueError, RecursionError)
"""What a provider that does not behave causes."""
_MAX_ANSWER = 64 * 1024
_MAX_COOKIE = 3800
"""Bytes; browsers keep cookies of at least 4096 with their name and attributes (RFC 6265, 6.1)."""
_MAX_KEPT, _MAX_KEPT_TEXT = 100, 64 * 1024


class SignInFailed(PortalError):
    """The provider did not sign you in. Start again."""

    status = HTTPStatus.BAD_REQUEST
    title = "Sign in"


@dataclass(frozen=True, slots=True)
class Attempt:
    """What the browser keeps, in a cookie, while a person is at the provider.

    Attributes:
        state: Returned with the code, so that another person's code is not used (RFC 6749, 10.12).
        code_verifier: Proves that the portal itself began this sign-in (RFC 7636).
        nonce_verifier: Proves the same to the servers; the ID token has its hash.
        next: Where the person wanted to go.
        kept: The ID of what they typed before their session ended; empty for nothing.
    """

    state: str
    code_verifier: str
    nonce_verifier: str
    next: str
    kept: str

    @classmethod
    def begin(cls, target: str, kept: str) -> Attempt:
        """Return a new attempt."""
        return cls(secrets.token_urlsafe(), secrets.token_urlsafe(), secrets.token_urlsafe(), target, kept)

    def encoded(self) -> str:
        """Return the attempt as a cookie's value; if it were too long, without the way back."""
        values = [self.state, self.code_verifier, self.nonce_verifier, self.next, self.kept]
        packed = base64.urlsafe_b64encode(json.dumps(values).encode()).decode()
        if len(packed) <= _MAX_COOKIE:
            return packed
        return Attempt(self.state, self.code_verifier, self.nonce_verifier, "/", "").encoded()

    @classmethod
    def decoded(cls, value: str) -> Attempt | None:
        """Return the attempt in a cookie, or None if it has none."""
        try:
            found = json.loads(base64.urlsafe_b64decode(value))
            json.dumps(found, ensure_ascii=False).encode()  # fails for lone surrogates
        except (ValueError, RecursionError):
            return None
        is_ours = isinstance(found, list) and all(isinstance(one, str) for one in found)
        return cls(*found) if is_ours and len(found) == len(cls.__dataclass_fields__) else None


def challenge_of(verifier: str) -> str:
    """Return the SHA-256 of a verifier in base64url (RFC 7636, 4.2)."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")


class KeptForms:
    """What people had typed when their session ended, while they are at the provider."""

    def __init__(self) -> None:
        self._texts: OrderedDict[str, tuple[str, str]] = OrderedDict()

    def put(self, text: str, token: str) -> str:
        """Keep a text for the browser with this token of an ended session.

        Returns:
            Its ID, or an empty one if it is too long.
        """
        if not text or len(text) > _MAX_KEPT_TEXT:
            return ""
        kept = secrets.token_urlsafe()
        self._texts[kept] = (token, text)
        if len(self._texts) > _MAX_KEPT:
            self._texts.popitem(last=False)
        return kept

    def take(self, kept: str, token: str) -> str:
        """Return a text and forget it; empty if there is none for this token."""
        if self._texts.get(kept, ("", ""))[0] != token:
            return ""
        return self._texts.pop(kept, ("", ""))[1]


class OidcClient:
    """Signs people in at the provider that the servers are configured with.

    Args:
        api: The servers.
        client_secret: What the token endpoint requires; empty for nothing.
        clock: Returns seconds.
    """

    def __init__(
        self, api: AdminApi, client_secret: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._api = api
        self._secret = client_secret
        self._clock = clock
        self._known: tuple[pb.GetSignInResponse, str] = (pb.GetSignInResponse(), "")
        self._until = clock()

    async def provider(self, caller: Caller) -> tuple[pb.GetSignInResponse, str]:
        """Return the provider, without an issuer if there is none, and why it cannot be used."""
        if self._clock() >= self._until:
            try:
                self._known = (await self._api.call(pb.GetSignInRequest(), caller), "")
            except ApiError as error:
                self._known = (pb.GetSignInResponse(), str(error))
            self._until = self._clock() + _FRESH_SECONDS
        return self._known

    def url(self, provider: pb.GetSignInResponse, attempt: Attempt, redirect_uri: str) -> str:
        """Return the URL at which a person signs in."""
        query = {
            "response_type": "code",
            "client_id": provider.client_id,
            "redirect_uri": redirect_uri,
            "scope": " ".join(provider.scopes),
            "state": attempt.state,
            "nonce": challenge_of(attempt.nonce_verifier),
            "code_challenge": challenge_of(attempt.code_verifier),
            "code_challenge_method": "S256",
        }
        separator = "&" if "?" in provider.authorization_endpoint else "?"
        return f"{provider.authorization_endpoint}{separator}{urlencode(query)}"

    async def id_token(
        self, provider: pb.GetSignInResponse, code: str, attempt: Attempt, redirect_uri: str
    ) -> str:
        """Return the ID token for a code.

        Raises:
            SignInFailed: The provider does not return one.
        """
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "client_id": provider.client_id,
            "code_verifier": attempt.code_verifier,
        }
        # RFC 6749, 2.3.1: both are form-encoded before they are joined. A space as %20, because some servers,
        # such as that of Authlib, do not decode `+`.
        pair = tuple(quote(one, safe="") for one in (provider.client_id, self._secret))
        auth = httpx.BasicAuth(*pair) if self._secret else None
        try:
            async with asyncio.timeout(_EXCHANGE_SECONDS):
                answer = await _post(provider.token_endpoint, form, auth)
        except (
            TimeoutError,
            httpx.HTTPError,
            httpx.InvalidURL,
            OSError,
            ValueError,
            RecursionError,
        ) as error:
            raise SignInFailed("The provider did not answer as expected. Try again shortly.") from error
        token = answer.get("id_token") if isinstance(answer, dict) else None
        if not isinstance(token, str):
            error_code = answer.get("error") if isinstance(answer, dict) else None
            raise SignInFailed(f"The provider did not sign you in ({str(error_code)[:100]}). Start again.")
        return token


async def _post(url: str, form: dict[str, str], auth: httpx.BasicAuth | None) -> Any:
    """Return the JSON that the token endpoint answers.

    Raises:
        ValueError: The answer is too large, or not JSON.
    """
    is_tls = url.startswith("https:")
    verify = ssl.create_default_context() if is_tls else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    raw = bytearray()
    async with (
        httpx.AsyncClient(verify=verify, timeout=_EXCHANGE_SECONDS, trust_env=False) as http,
        http.stream("POST", url, data=form, auth=auth, headers={"accept-encoding": "identity"}) as response,
    ):
        async for part in response.aiter_raw():
            raw += part
            if len(raw) > _MAX_ANSWER:
                raise ValueError("too large")
    return json.loads(raw)
