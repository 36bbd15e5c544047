"""Signatures: the vector that Standard Webhooks' own libraries are tested with, and two secrets at once."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import hmac
import uuid

import pytest

from server.dispatcher.webhooks.signing import signed_headers
from server.domain.webhook import Endpoint, EndpointState, EventType, Secrets, Target, new_secret

# https://github.com/standard-webhooks/standard-webhooks, libraries/python/tests/test_webhooks.py
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
MESSAGE_ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
TIMESTAMP = 1614265330
BODY = b'{"test": 2432232314}'
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="

NOW = dt.datetime(2026, 1, 31, 12, tzinfo=dt.UTC)
SECOND = dt.timedelta(seconds=1)


def test_the_published_test_vector() -> None:
    assert signed_headers(MESSAGE_ID, TIMESTAMP, BODY, [SECRET]) == {
        "webhook-id": MESSAGE_ID,
        "webhook-timestamp": "1614265330",
        "webhook-signature": SIGNATURE,
    }


def test_each_secret_signs() -> None:
    other = new_secret()
    both = signed_headers(MESSAGE_ID, TIMESTAMP, BODY, [other, SECRET])["webhook-signature"].split(" ")
    assert both[1] == SIGNATURE
    digest = hmac.digest(
        base64.b64decode(other.removeprefix("whsec_")),
        b"%b.%d.%b" % (MESSAGE_ID.encode(), TIMESTAMP, BODY),
        hashlib.sha256,
    )
    assert both[0] == f"v1,{base64.b64encode(digest).decode()}"


def test_new_secrets_are_random_and_standard() -> None:
    first, second = new_secret(), new_secret()
    assert first != second
    assert first.startswith("whsec_")
    assert 24 <= len(base64.b64decode(first.removeprefix("whsec_"), validate=True)) <= 64


@pytest.mark.parametrize(
    ("until", "signing"),
    [
        (None, ("new",)),
        (NOW - SECOND, ("new",)),
        (NOW, ("new",)),
        (NOW + SECOND, ("new", "old")),
    ],
)
def test_the_old_secret_signs_until_the_overlap_ends(
    until: dt.datetime | None, signing: tuple[str, ...]
) -> None:
    assert tuple(Secrets("new", "old", until).at(NOW)) == signing
    assert tuple(Secrets("new", "", NOW + SECOND).at(NOW)) == ("new",)


def test_no_repr_shows_a_secret_or_a_url() -> None:
    secrets = Secrets("whsec_current", "whsec_previous", NOW)
    target = Target("https://example.com/?token=1", secrets)
    url = "https://example.com/?token=1"
    created = Endpoint(
        id=uuid.uuid4(),
        project_id=1,
        project="p",
        url=url,
        events=(EventType.DEAD,),
        state=EndpointState.ACTIVE,
        created_at=NOW,
    )
    for shown in map(repr, (secrets, target, created)):
        assert "whsec" not in shown
        assert "token" not in shown
