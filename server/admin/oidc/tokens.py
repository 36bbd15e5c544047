"""Verifies ID tokens (OpenID Connect Core 1.0, section 3.1.3.7; RFC 8725)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import time
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from ...domain.identity import Identity, printable
from ...errors import CredentialsInvalid
from .provider import Provider
from .settings import OidcSettings

__all__ = ["ALGORITHMS", "nonce_of", "verify"]

ALGORITHMS = {
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), "RSA"),
    **dict.fromkeys(("ES256", "ES384", "ES512"), "EC"),
    "EdDSA": "OKP",
}
"""The kind of key of each accepted signature: only those with a public key, so neither `none` nor HMAC."""
_LEEWAY = 60
"""Seconds by which clocks may differ."""
_MAX_AGE = 600
"""Seconds after which a token is too old to start a session. Used tokens are remembered for longer."""
_RSA_BITS = (2048, 8192)
_MAX_GROUPS = 1000
_MAX_TEXT = 255
"""Characters of a claim (OpenID Connect Core 1.0, section 2, for `sub`)."""


class _Header(msgspec.Struct):
    alg: str
    kid: str = ""
    crit: Any = None


class _Issuer(msgspec.Struct):
    iss: str


def nonce_of(verifier: str) -> str:
    """Return the nonce for a verifier: its SHA-256 in base64url."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")


async def verify(
    token: str,
    verifier: str,
    settings: OidcSettings,
    provider: Provider,
    clock: Callable[[], float] = time.time,
) -> Identity:
    """Return the person in an ID token. The provider is not called for one that is not of this issuer.

    Args:
        token: The ID token.
        verifier: The secret of the browser that signs in.
        settings: The settings.
        provider: The provider.
        clock: Returns the seconds since 1970.

    Raises:
        CredentialsInvalid: The token is invalid; the message says why.
        SignInUnavailable: The provider's keys cannot be fetched.
    """
    header = _read_header(token, settings.issuer)
    key = await _key(header, provider)
    try:
        claims: dict[str, Any] = jwt.decode(
            token,
            key,
            algorithms=[header.alg],
            audience=settings.client_id,
            issuer=settings.issuer,
            leeway=_LEEWAY,
            options={"require": ["iss", "sub", "aud", "exp", "iat", "nonce"]},
        )
    except jwt.ExpiredSignatureError:
        _reject("it has expired")
    except jwt.InvalidAudienceError:
        _reject("it is for another client")
    except jwt.InvalidSignatureError:
        _reject("its signature is wrong")
    except jwt.MissingRequiredClaimError as error:
        _reject(f"it has no {error.claim}")
    except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError):
        _reject("it is malformed")
    return _identity(claims, verifier, settings, clock())


def _read_header(token: str, issuer: str) -> _Header:
    """Return the header of a token that claims to be of the issuer. Nothing is verified yet."""
    parts = token.split(".")
    if len(parts) != 3 or not token.isascii():  # noqa: PLR2004 - header, claims, signature (RFC 7515, 7.1)
        _reject("it is malformed")
    try:
        header = msgspec.json.decode(_unpacked(parts[0]), type=_Header)
        claimed = msgspec.json.decode(_unpacked(parts[1]), type=_Issuer).iss
    except (msgspec.MsgspecError, ValueError, RecursionError):
        _reject("it is malformed")
    if claimed != issuer:
        _reject("it is of another issuer")
    if header.alg not in ALGORITHMS or header.crit is not None:
        _reject(f"it is signed by {printable(header.alg, 20)}, which is not accepted")
    return header


async def _key(header: _Header, provider: Provider) -> jwt.PyJWK:
    """Return the key that a token names, which the provider may have just begun to use."""
    fitting = [one for one in (await provider.data()).keys if _fits(one, header)]
    if not fitting:
        fitting = [one for one in (await provider.data(for_new_key=True)).keys if _fits(one, header)]
    if not fitting:
        _reject("it is signed by a key that the provider does not have")
    if len(fitting) > 1 and not header.kid:
        _reject("it does not say which key has signed it")
    try:
        key = jwt.PyJWK(fitting[0], header.alg)
    except (jwt.PyJWTError, ValueError, TypeError, KeyError):
        _reject("its key cannot be used")
    if isinstance(key.key, RSAPublicKey) and not _RSA_BITS[0] <= key.key.key_size <= _RSA_BITS[1]:
        _reject("its key is too short or too long")
    return key


def _fits(key: Mapping[str, Any], header: _Header) -> bool:
    return (
        key.get("kty") == ALGORITHMS[header.alg]
        and key.get("use", "sig") == "sig"
        and key.get("alg", header.alg) == header.alg
        and (not header.kid or key.get("kid") == header.kid)
    )


def _identity(claims: Mapping[str, Any], verifier: str, settings: OidcSettings, now: float) -> Identity:
    audience = claims["aud"]
    is_shared = isinstance(audience, list) and len(audience) > 1
    if claims.get("azp", None if is_shared else settings.client_id) != settings.client_id:
        _reject("it is for another client")
    nonce, subject = claims["nonce"], claims["sub"]
    if not isinstance(nonce, str) or not hmac.compare_digest(nonce.encode(), nonce_of(verifier).encode()):
        _reject("it is of another sign-in")
    if not _is_text(subject):
        _reject("its sub is malformed")
    if now - int(claims["iat"]) > _MAX_AGE + _LEEWAY:
        _reject("it is too old")
    email = claims.get("email")
    is_verified = _is_text(email) and claims.get("email_verified") is True
    groups = claims.get(settings.groups_claim, ())
    listed = [groups] if isinstance(groups, str) else groups if isinstance(groups, list) else []
    return Identity(
        issuer=settings.issuer,
        subject=subject,
        name=printable(str(claims.get("preferred_username") or claims.get("name") or ""), _MAX_TEXT),
        email=str(email) if is_verified else "",
        groups=tuple(one for one in listed[:_MAX_GROUPS] if _is_text(one)),
    )


def _is_text(value: object) -> bool:
    """Return whether a claim is text that can be stored and shown: without NUL and the like."""
    return isinstance(value, str) and len(value) <= _MAX_TEXT and value.isprintable()


def _unpacked(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise ValueError("not base64url") from error


def _reject(why: str) -> NoReturn:
    raise CredentialsInvalid(f"The ID token cannot be used: {why}. Sign in again.")
