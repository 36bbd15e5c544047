"""ID tokens: which are accepted, and what each attempt may cost."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from portal.oidc import Attempt
from server.admin.errors import SignInUnavailable
from server.admin.oidc.allow import grants_of
from server.admin.oidc.settings import Allow, OidcSettings
from server.admin.oidc.sign_in import SignIn, token_hash
from server.admin.oidc.tokens import nonce_of
from server.domain.identity import Identity
from server.domain.operator import Grant, Role
from server.errors import ClarionError, CredentialsInvalid, Overloaded
from tests.kit.openid_provider import CLIENT_ID, OpenIdProvider, rsa_key, running_provider

ADDRESS = "192.0.2.1"
VERIFIER = "v" * 43
NONCE = nonce_of(VERIFIER)
DISCOVERY = "/.well-known/openid-configuration"


@pytest.fixture
async def provider() -> AsyncIterator[OpenIdProvider]:
    async with running_provider() as found:
        yield found


def sign_in(provider: OpenIdProvider, clock: Callable[[], float] = time.monotonic) -> SignIn:
    allow = (Allow(email="ada@example.com", role=Role.ADMIN),)
    return SignIn(OidcSettings(issuer=provider.issuer, client_id=CLIENT_ID, allow=allow), clock)


async def problem(provider: OpenIdProvider, token: str, verifier: str = VERIFIER) -> str:
    """Return why a token is rejected."""
    with pytest.raises(ClarionError) as caught:
        await sign_in(provider).identify(token, verifier, ADDRESS)
    assert isinstance(caught.value, CredentialsInvalid | SignInUnavailable)
    return str(caught.value)


async def test_a_correct_token_identifies_the_person(provider: OpenIdProvider) -> None:
    who = sign_in(provider)
    found = await who.identify(provider.token(NONCE, preferred_username="ada"), VERIFIER, ADDRESS)
    assert found == Identity(provider.issuer, "person-1", "ada", "ada@example.com", ("staff",))
    assert found.display_name == "ada@example.com"
    for _ in range(3):
        await who.identify(provider.token(NONCE), VERIFIER, ADDRESS)
    assert (provider.count(DISCOVERY), provider.count("/keys")) == (1, 1)


async def test_wrong_claims_are_rejected(provider: OpenIdProvider) -> None:
    now = int(time.time())
    cases: list[tuple[dict[str, Any], str]] = [
        ({"iss": "https://evil.example.com"}, "another issuer"),
        ({"iss": provider.issuer + "/"}, "another issuer"),
        ({"aud": "another"}, "another client"),
        ({"aud": ["another"]}, "another client"),
        ({"aud": [CLIENT_ID, "another"]}, "another client"),
        ({"azp": "another"}, "another client"),
        ({"aud": None}, "no aud"),
        ({"nonce": None}, "no nonce"),
        ({"nonce": nonce_of("w" * 43)}, "another sign-in"),
        ({"nonce": VERIFIER}, "another sign-in"),
        ({"nonce": 7}, "another sign-in"),
        ({"exp": now - 120}, "expired"),
        ({"exp": None}, "no exp"),
        ({"exp": "soon"}, "malformed"),
        ({"exp": float("inf")}, "malformed"),
        ({"iat": now - 3600}, "too old"),
        ({"iat": now + 3600}, "malformed"),
        ({"iat": None}, "no iat"),
        ({"sub": None}, "no sub"),
        ({"sub": 7}, "malformed"),
        ({"sub": "a\0b"}, "malformed"),
        ({"sub": "\ud800"}, "malformed"),
        ({"sub": "x" * 256}, "malformed"),
        ({"nbf": now + 3600}, "malformed"),
    ]
    wrong = []
    for claims, expected in cases:
        found = await problem(provider, provider.token(NONCE, **claims))
        if expected not in found:
            wrong.append((claims, found))
    assert wrong == []
    accepted = provider.token(NONCE, aud=[CLIENT_ID, "another"], azp=CLIENT_ID)
    await sign_in(provider).identify(accepted, VERIFIER, ADDRESS)


async def test_wrong_signatures_are_rejected(provider: OpenIdProvider) -> None:
    good = provider.token(NONCE)
    head, claims, signature = good.split(".")
    public = provider.key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    confused = f"{packed({'alg': 'HS256', 'kid': 'one'})}.{claims}"
    mac = base64.urlsafe_b64encode(hmac.digest(public, confused.encode(), "sha256")).decode().rstrip("=")
    huge = packed_text('{"iss": 1' + "0" * 5000 + "}")
    cases = [
        (provider.token(NONCE, key=rsa_key()), "signature is wrong"),
        (
            provider.token(NONCE, key=rsa_key(), headers={"kid": "two"}),
            "the provider does not have",
        ),
        (f"{packed({'alg': 'none'})}.{claims}.", "signed by none"),
        (f"{packed({'alg': 'None'})}.{claims}.", "signed by None"),
        (f"{confused}.{mac}", "signed by HS256"),
        (f"{packed({'alg': 'RS256', 'kid': 'one', 'crit': ['x']})}.{claims}.{signature}", "not accepted"),
        (f"{packed({'alg': 'PS256', 'kid': 'one'})}.{claims}.{signature}", "does not have"),
        (f"{head}.{packed({'iss': provider.issuer, 'sub': 'root'})}.{signature}", "signature is wrong"),
        (f"{head}.{claims}.", "signature is wrong"),
        (f"{head}.{claims}", "malformed"),
        (f"{head}.{claims}.{signature}.x", "malformed"),
        (f"{head}.{claims}\N{LATIN SMALL LETTER E WITH ACUTE}.{signature}", "malformed"),
        (f"{head}.{packed_text('[' * 5000)}.{signature}", "malformed"),
        (f"{head}.{huge}.{signature}", "malformed"),
        ("a.b.c", "malformed"),
        ("", "malformed"),
        ("..", "malformed"),
    ]
    wrong = []
    for token, expected in cases:
        found = await problem(provider, token)
        if expected not in found:
            wrong.append((token[:60], expected, found))
    assert wrong == []


async def test_keys_that_do_not_fit_are_not_used(provider: OpenIdProvider) -> None:
    short = rsa.generate_private_key(65537, 1024)  # noqa: S505 - which is why
    small = {**jwt.algorithms.RSAAlgorithm.to_jwk(short.public_key(), as_dict=True), "kid": "one"}
    for keys, expected in (
        ([provider.public_key(use="enc")], "does not have"),
        ([provider.public_key(alg="RS512")], "does not have"),
        ([{"kty": "oct", "kid": "one", "k": "c2VjcmV0"}], "does not have"),
        ([{"kty": "RSA", "kid": "one", "n": "", "e": ""}], "cannot be used"),
        ([{"kty": "RSA", "kid": "one"}], "cannot be used"),
        ([small], "too short"),
        ([], "does not have"),
    ):
        provider.jwks = {"keys": keys}
        assert expected in await problem(provider, provider.token(NONCE)), keys


async def test_a_broken_provider_is_reported(provider: OpenIdProvider) -> None:
    token = provider.token(NONCE)
    for changed, expected in (
        ({"metadata": {"issuer": "https://evil.example.com"}}, "of another issuer"),
        ({"metadata": {"jwks_uri": "http://evil.example.com/keys"}}, "without TLS"),
        ({"metadata": {"jwks_uri": 7}}, "not the expected JSON"),
        ({"jwks": {"keys": [{"x": "y" * 300_000}]}}, "larger than 256 KiB"),
        ({"jwks": {"keys": [{}] * 101}}, "more than 100 keys"),
        ({"jwks": []}, "not the expected JSON"),
        ({"status": 302}, "status 302"),
        ({"status": 500}, "status 500"),
    ):
        before = {name: getattr(provider, name) for name in changed}
        vars(provider).update(changed)
        assert expected in await problem(provider, token), changed
        vars(provider).update(before)
    provider.issuer = "http://127.0.0.1:1"
    assert "cannot be reached" in await problem(provider, provider.token(NONCE))


async def test_a_slow_provider_is_asked_once(
    provider: OpenIdProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.admin.oidc.provider._SECONDS", 0.2)
    provider.delay = 30
    now = 100.0
    who = sign_in(provider, lambda: now)
    for _ in range(3):
        with pytest.raises(SignInUnavailable, match="did not answer"):
            await who.identify(provider.token(NONCE), VERIFIER, ADDRESS)
    assert provider.count(DISCOVERY) == 1
    provider.delay, now = 0, 106.0
    await who.identify(provider.token(NONCE), VERIFIER, ADDRESS)


async def test_strangers_cause_no_requests(provider: OpenIdProvider) -> None:
    now = 100.0
    who = sign_in(provider, lambda: now)
    for token in ("a.b.c", provider.token(NONCE, iss="https://evil.example.com"), "x" * 16384):
        with pytest.raises(CredentialsInvalid):
            await who.identify(token, VERIFIER, ADDRESS)
    assert provider.requests == []
    for number in range(20):  # keys that the provider does not have
        with pytest.raises(CredentialsInvalid):
            await who.identify(provider.token(NONCE, headers={"kid": f"k{number}"}), VERIFIER, ADDRESS)
    assert provider.count("/keys") == 1
    for _ in range(2):
        await who.identify(provider.token(NONCE), VERIFIER, ADDRESS)
    with pytest.raises(Overloaded):
        await who.identify(provider.token(NONCE), VERIFIER, ADDRESS)
    await who.identify(provider.token(NONCE), VERIFIER, "192.0.2.2")  # others can still sign in


def test_a_chosen_name_does_not_hide_who_it_is() -> None:
    """A long name would otherwise cut off the subject, and look like another person's address."""
    names = [Identity("i", subject, "boss@example.com" + " " * 184).display_name for subject in ("a", "b")]
    assert [name[-4:] for name in names] == [" (a)", " (b)"]


async def test_a_new_key_of_the_provider_is_found(provider: OpenIdProvider) -> None:
    now = 100.0
    who = sign_in(provider, lambda: now)
    await who.identify(provider.token(NONCE), VERIFIER, ADDRESS)
    provider.key = rsa_key()
    provider.jwks = {"keys": [provider.public_key(kid="two")]}
    with pytest.raises(CredentialsInvalid):
        await who.identify(provider.token(NONCE, headers={"kid": "two"}), VERIFIER, ADDRESS)
    now = 131.0
    await who.identify(provider.token(NONCE, headers={"kid": "two"}), VERIFIER, ADDRESS)
    assert provider.count("/keys") == 2


async def test_only_verified_addresses_count(provider: OpenIdProvider) -> None:
    for verified in (False, None, "true", 1):
        found = await sign_in(provider).identify(
            provider.token(NONCE, email_verified=verified), VERIFIER, ADDRESS
        )
        assert (found.email, found.display_name) == ("", "person-1"), verified


def test_the_allow_list_grants_only_what_it_says() -> None:
    allow = [
        Allow(email="Ada@Example.com", role=Role.AUTHOR, projects=("shop", "gone")),
        Allow(group="staff", role=Role.VIEWER),
    ]
    projects = {"demo": 1, "shop": 2}
    cases = {
        ("ada@example.com", ()): {Grant(Role.AUTHOR, 2)},
        ("", ("staff",)): {Grant(Role.VIEWER)},
        ("ada@example.com", ("staff", "x")): {Grant(Role.AUTHOR, 2), Grant(Role.VIEWER)},
        ("", ("Staff", "staff2", "")): set(),
        ("bob@example.com", ()): set(),
        ("", ()): set(),
    }
    for (email, groups), expected in cases.items():
        assert set(grants_of(Identity("i", "s", "", email, groups), allow, projects)) == expected


def test_a_used_token_is_known_by_what_is_signed() -> None:
    assert token_hash("a.b.c") == token_hash("a.b.d") == hashlib.sha256(b"a.b").digest()


def packed(value: object) -> str:
    return packed_text(json.dumps(value))


def packed_text(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


async def test_texts_that_cannot_be_stored_are_left_out(provider: OpenIdProvider) -> None:
    claims: dict[str, Any] = {"email": "a\0@example.com", "groups": ["staff", "\0", "x" * 256], "name": "a\0"}
    found = await sign_in(provider).identify(provider.token(NONCE, **claims), VERIFIER, ADDRESS)
    assert (found.email, found.groups, found.name) == ("", ("staff",), "a\N{REPLACEMENT CHARACTER}")


OTHER_MAILBOXES = ("bo\u00df@example.com", "bo\u017fs@example.com", "boss@e\uff58ample.com")
"""Case folding or normalization equates them with boss@example.com."""


@pytest.mark.parametrize("email", OTHER_MAILBOXES)
def test_similar_addresses_are_of_other_people(email: str) -> None:
    allow = [Allow(email="Boss@example.com", role=Role.ADMIN)]
    assert grants_of(Identity("i", "s", email="bOSS@EXAMPLE.com"), allow, {})
    assert grants_of(Identity("i", "s", email=email), allow, {}) == ()


def test_groups_match_exactly() -> None:
    allow = [Allow(group="admins", role=Role.ADMIN)]
    assert grants_of(Identity("i", "s", groups=("admins",)), allow, {})
    assert grants_of(Identity("i", "s", groups=("Admins", "admins ", "\uff41dmins")), allow, {}) == ()


FORGED = (r'["\ud800", "", "", "", ""]', "[]", "{}", "[1, 2, 3, 4, 5]", "[" * 9000, "x")


@pytest.mark.parametrize("given", FORGED)
def test_attempts_in_forged_cookies_are_none(given: str) -> None:
    assert Attempt.decoded(base64.urlsafe_b64encode(given.encode()).decode()) is None
