"""API keys: their secrets, their ends, and what they may do."""

from __future__ import annotations

import datetime as dt
import hashlib
import uuid
from dataclasses import replace

import pytest

from server.domain.key import ApiKey, hash_secret, hint_of, is_test_secret, new_secret, secret_from_header
from tests.kit.cases import each_case

SECRET = "sk_dbf68c87-e579-4dac-b083-77fed0294e67"
NOW = dt.datetime(2030, 1, 1, tzinfo=dt.UTC)
KEY = ApiKey(uuid.uuid4(), 1, "a key", frozenset(), NOW)


@pytest.mark.parametrize("header", [f"Bearer {SECRET}", f"bearer {SECRET}", f"BEARER   {SECRET}  "])
def test_the_scheme_may_stand_in_any_case(header: str) -> None:
    assert secret_from_header(header) == SECRET


def test_secrets_of_test_keys_are_recognised() -> None:
    secret = new_secret(test=True)
    assert secret_from_header(f"Bearer {secret}") == secret
    assert (is_test_secret(secret), is_test_secret(SECRET)) == (True, False)
    assert hint_of(secret) == f"sk_test_…{secret[-4:]}"


@each_case(
    "header",
    [
        "",
        "Bearer",
        "Bearer ",
        SECRET,
        f"Basic {SECRET}",
        f"Bearer{SECRET}",
        f" Bearer {SECRET}",
        f"Bearer\t{SECRET}",
        "Bearer sk_token_here",
        f"Bearer {SECRET}0",
        f"Bearer {SECRET[:-1]}",
        f"Bearer {SECRET}\n",
        f"Bearer {SECRET}, Bearer {SECRET}",
        f"Bearer {SECRET[3:]}",
        f"Bearer sk_live_{SECRET[3:]}",
        f"Bearer sk_test_test_{SECRET[3:]}",
        "Bearer sk_test_",
    ],
)
def test_any_other_header_holds_no_secret(header: str) -> None:
    assert secret_from_header(header) is None


def test_new_secrets_are_well_formed_and_differ() -> None:
    secrets = {new_secret() for _ in range(100)}
    assert len(secrets) == 100
    assert all(secret_from_header(f"Bearer {secret}") == secret for secret in secrets)


def test_only_the_sha_256_is_kept() -> None:
    assert hash_secret(SECRET) == hashlib.sha256(SECRET.encode()).digest()


def test_a_key_works_until_it_expires_or_is_revoked() -> None:
    assert KEY.works_at(NOW)
    expiring = replace(KEY, expires_at=NOW)
    assert expiring.works_at(NOW - dt.timedelta(microseconds=1))
    assert not expiring.works_at(NOW)
    assert not replace(KEY, revoked_at=NOW + dt.timedelta(days=1)).works_at(NOW)


def test_a_key_may_be_held_to_campaigns() -> None:
    assert KEY.may_trigger(44)
    held = replace(KEY, campaign_ids=frozenset({44}))
    assert held.may_trigger(44)
    assert not held.may_trigger(45)
