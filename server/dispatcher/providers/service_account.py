"""Google service accounts: exchanges a signed assertion for an access token (RFC 7523).

https://developers.google.com/identity/protocols/oauth2/service-account
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import httpx
import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from ...domain.delivery_errors import ProviderError, Verdict
from ...domain.json_limits import exceeds_depth
from ...errors import ConfigError
from ..redact import scrub
from .http import Answer, HttpApi
from .tokens import Clock, Token, load_key, read_file

__all__ = ["ServiceAccount"]

LIFETIME = 3600
"""Seconds that an assertion is valid, the maximum that Google accepts."""
_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})

Word = Annotated[str, msgspec.Meta(pattern=r"^[\x21-\x7e]+\Z")]


class _File(msgspec.Struct, frozen=True):
    """The fields of the JSON key file that are used."""

    client_email: Word
    private_key: Annotated[str, msgspec.Meta(min_length=1)]
    project_id: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9.:_-]+\Z")]
    token_uri: Word = "https://oauth2.googleapis.com/token"  # noqa: S105 - an address
    private_key_id: Word | None = None

    def __repr__(self) -> str:
        """Show no fields, because one is the private key."""
        return "_File()"


class _Grant(msgspec.Struct, frozen=True):
    access_token: Word
    expires_in: Annotated[float, msgspec.Meta(gt=0)] = LIFETIME

    def __repr__(self) -> str:
        return "_Grant()"


class _Refusal(msgspec.Struct, frozen=True):
    """An error of the token endpoint (RFC 6749, 5.2)."""

    error: str = ""
    error_description: str = ""


class ServiceAccount:
    """A service account that requests access tokens."""

    def __init__(self, setting: str, path: str, scope: str, clock: Clock) -> None:
        """Read the JSON key file.

        Args:
            setting: The name of the setting with the path, for errors.
            path: The path of the file.
            scope: The OAuth scope of the tokens.
            clock: Returns Unix seconds.

        Raises:
            ConfigError: The file cannot be used. The text names `setting`.
        """
        file = _parse(setting, read_file(setting, path))
        key = load_key(setting, file.private_key.encode("utf-8", "replace"))
        if not isinstance(key, RSAPrivateKey):
            raise ConfigError(f"{setting}: private_key is not an RSA key")
        _check_address(setting, file.token_uri)
        self.project_id = file.project_id
        self._key = key
        self._headers = {"kid": file.private_key_id} if file.private_key_id else {}
        self._token_uri = file.token_uri
        self._claims = {"iss": file.client_email, "scope": scope, "aud": file.token_uri}
        self._clock = clock

    async def fetch_token(self, api: HttpApi, timeout: float) -> Token:  # noqa: ASYNC109 - sends share it
        """Request a new access token.

        Args:
            api: The client to use.
            timeout: Maximum duration in seconds.

        Raises:
            ProviderError: There was no answer, or the request was rejected: the clock or the account is
                wrong, or Google is down. The text contains no part of the assertion.
        """
        now = self._clock()
        claims = self._claims | {"iat": int(now), "exp": int(now) + LIFETIME}
        assertion = jwt.encode(claims, self._key, algorithm="RS256", headers=self._headers)
        try:
            async with asyncio.timeout(timeout):
                answer = await api.post(self._token_uri, form={"grant_type": _GRANT, "assertion": assertion})
        except TimeoutError:
            raise _down(f"the token endpoint gave no answer within {timeout:g} s") from None
        except ProviderError as error:
            raise _down(f"the token endpoint failed: {error}") from None
        return _token(answer, now, assertion)


def _down(problem: str, retry_after: float | None = None) -> ProviderError:
    return ProviderError(Verdict.PROVIDER_DOWN, problem, retry_after=retry_after)


def _token(answer: Answer, now: float, assertion: str) -> Token:
    try:
        if answer.status == httpx.codes.OK:
            grant = msgspec.convert(answer.body, _Grant)
            return Token(grant.access_token, now + grant.expires_in)
    except msgspec.ValidationError:
        raise _down("the token endpoint answered 200 without an access token") from None
    text = f"the token endpoint answered {answer.status} {_refusal(answer.body, assertion)}"
    raise _down(text.rstrip(), answer.retry_after)


def _refusal(body: Any, assertion: str) -> str:
    """Return the endpoint's error text, or an empty string if that contains a part of the assertion."""
    try:
        refusal = msgspec.convert(body, _Refusal)
    except msgspec.ValidationError:
        return ""
    text = f"{refusal.error} {refusal.error_description}"
    return "" if any(part in text for part in assertion.split(".")) else scrub(text, "")


def _parse(setting: str, content: bytes) -> _File:
    if exceeds_depth(content):
        raise ConfigError(f"{setting}: does not contain valid JSON")
    try:
        return msgspec.json.decode(content, type=_File)
    except msgspec.ValidationError as error:  # names fields, never their values
        raise ConfigError(f"{setting}: is not a service account key: {error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise ConfigError(f"{setting}: does not contain valid JSON") from None


def _check_address(setting: str, text: str) -> None:
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL:
        url = httpx.URL("")
    secure = url.scheme == "https" or (url.scheme == "http" and url.host in _LOOPBACK)
    if not (secure and url.host) or url.userinfo:
        raise ConfigError(f"{setting}: token_uri must be an https address")
