"""Twilio's Messages API, played by a server that accepts only what the documentation allows."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from server.channels.text import Text
from server.config import load
from server.dispatcher.providers import build
from server.dispatcher.providers.base import Provider
from server.dispatcher.providers.twilio import TwilioSettings
from server.domain.delivery_errors import ProviderError, Verdict
from server.errors import ConfigError
from tests.kit.cases import each_case
from tests.kit.http_api import Api, Reply, Request, http_api
from tests.kit.twilio_api import (
    ACCOUNT,
    FROM,
    KEY,
    NUMBER,
    SECRET,
    SERVICE,
    SID,
    TOKEN,
    failed,
    make_text,
    refusal,
    twilio,
)


@contextlib.asynccontextmanager
async def provider_for(url: str, **settings: object) -> AsyncIterator[Provider]:
    table = {"type": "twilio", "url": url, "account_sid": ACCOUNT, "auth_token": TOKEN, "from_number": FROM}
    given = {name: value for name, value in (table | settings).items() if value is not None}
    provider = build("sms", given, data_dir=Path())
    try:
        yield provider
    finally:
        await provider.aclose()


@contextlib.asynccontextmanager
async def provider_and_api(*script: Reply, **settings: object) -> AsyncIterator[tuple[Provider, Api]]:
    async with http_api(twilio) as api, provider_for(api.url, **settings) as provider:
        api.script += script
        yield provider, api


async def failure(provider: Provider, message: Text | None = None) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        await asyncio.wait_for(provider.send(message or make_text()), 60)
    said = f"{caught.value} {caught.value.__cause__!r}"
    assert NUMBER.lstrip("+") not in said
    assert "sesame" not in said
    return caught.value


async def sent(message: Text, **settings: object) -> dict[str, str]:
    """Send a message and return the form that arrived."""
    async with provider_and_api(**settings) as (provider, api):
        await provider.send(message)
    return api.requests[0].form()


async def test_a_text_arrives_unchanged() -> None:
    body = "Grüße & 50% off =\n+1 😀"
    async with provider_and_api() as (provider, api):
        message_id = await provider.send(make_text(body))
    assert message_id == SID
    (request,) = api.requests
    assert request.form() == {"To": NUMBER, "Body": body, "From": FROM}
    assert request.basic() == (ACCOUNT, TOKEN)


async def test_login_with_an_api_key() -> None:
    async with provider_and_api(auth_token=None, api_key=KEY, api_secret=SECRET) as (provider, api):
        await provider.send(make_text())
    assert api.requests[0].basic() == (KEY, SECRET)


async def test_a_messaging_service_chooses_the_sender() -> None:
    form = await sent(make_text(), from_number=None, messaging_service_sid=SERVICE)
    assert form == {"To": NUMBER, "Body": "Your code is 1234.", "MessagingServiceSid": SERVICE}


@pytest.mark.parametrize("settings", [{}, {"from_number": None, "messaging_service_sid": SERVICE}])
@pytest.mark.parametrize("sender", ["+12025550199", "CLARION"])
async def test_the_campaigns_sender_takes_precedence(sender: str, settings: dict[str, object]) -> None:
    form = await sent(make_text(sender=sender), **settings)
    assert form == {"To": NUMBER, "Body": "Your code is 1234.", "From": sender}


@pytest.mark.parametrize(
    ("body", "settings", "expected"),
    [
        ("x" * 1601, {"max_segments": 50}, "the text has 1601 characters; Twilio accepts 1600"),
        ("x" * 1531, {}, "the text needs 11 SMS segments (GSM-7); max_segments is 10"),
        ("ж" * 671, {}, "the text needs 11 SMS segments (UCS-2); max_segments is 10"),
        ("x" * 161, {"max_segments": 1}, "the text needs 2 SMS segments (GSM-7); max_segments is 1"),
    ],
)
async def test_a_too_long_text_is_not_sent(body: str, settings: dict[str, object], expected: str) -> None:
    async with provider_and_api(**settings) as (provider, api):
        error = await failure(provider, make_text(body))
    assert (error.verdict, str(error)) == (Verdict.NEVER, expected)
    assert api.connections == 0


@pytest.mark.parametrize(
    ("body", "settings"),
    [("x" * 1530, {}), ("ж" * 670, {}), ("x" * 160, {"max_segments": 1}), ("x" * 1600, {"max_segments": 11})],
)
async def test_a_text_of_maximum_length_is_sent(body: str, settings: dict[str, object]) -> None:
    assert (await sent(make_text(body), **settings))["Body"] == body


PERMANENT = [
    21212, 21266, 21408, 21602, 21603, 21606, 21608, 21612, 21617, 21619, 21658, 21659, 21660, 21661, 30004,
    30005, 30006, 30007,
]  # fmt: skip
OF_RECIPIENT = [21211, 21265, 21268, 21614, 21635]
OF_MESSAGE = [14107, 30003, 30008]
OF_PROVIDER = [
    20003, 20005, 20006, 20403, 20404, 20429, 20500, 20503, 20504, 21611, 21701, 21702, 21703, 21704, 21705,
    21730, 30001, 30002, 30022, 63038,
]  # fmt: skip
CODES = (
    [(code, Verdict.NEVER) for code in PERMANENT]
    + [(code, Verdict.RECIPIENT_REFUSED) for code in OF_RECIPIENT]
    + [(21610, Verdict.OPTED_OUT)]
    + [(code, Verdict.LATER) for code in OF_MESSAGE]
    + [(code, Verdict.PROVIDER_DOWN) for code in OF_PROVIDER]
)


@each_case(("code", "expected"), CODES)
async def test_verdict_of_each_code(*, code: int, expected: Verdict) -> None:
    async with provider_and_api(refusal(400, code), failed(code)) as (provider, _):
        for status in (400, 201):
            error = await failure(provider)
            assert error.verdict is expected
            assert str(error) == f"Twilio HTTP {status}, code {code}: No."
        await provider.send(make_text())


@each_case(
    ("reply", "expected"),
    [
        (refusal(400, 29999), Verdict.NEVER),
        (refusal(404, 29999), Verdict.NEVER),
        (refusal(401, 29999), Verdict.PROVIDER_DOWN),
        (refusal(403, 29999), Verdict.PROVIDER_DOWN),
        (refusal(408, 29999), Verdict.PROVIDER_DOWN),
        (refusal(429, 29999), Verdict.PROVIDER_DOWN),
        (refusal(429, 21611), Verdict.PROVIDER_DOWN),
        (refusal(500, 29999), Verdict.PROVIDER_DOWN),
        (refusal(503, 29999), Verdict.PROVIDER_DOWN),
        (refusal(503, 21610), Verdict.OPTED_OUT),
        (failed(39999), Verdict.LATER),
        (failed(None), Verdict.PROVIDER_DOWN),
        (Reply(201, {"status": "queued"}), Verdict.IN_DOUBT),
        (Reply(200, {"sid": SID, "status": "queued"}), Verdict.IN_DOUBT),
        (Reply(302, b"", {"Location": "https://example.com/"}), Verdict.PROVIDER_DOWN),
        (Reply(429, b"slow down"), Verdict.PROVIDER_DOWN),
        (Reply(502, b"<html>Bad Gateway</html>"), Verdict.IN_DOUBT),
    ],
)
async def test_verdict_of_each_status_without_a_known_code(*, reply: Reply, expected: Verdict) -> None:
    async with provider_and_api(reply) as (provider, _):
        error = await failure(provider)
        assert error.verdict is expected
        assert str(error).startswith(f"Twilio HTTP {reply.status}")
        await provider.send(make_text())


async def test_errors_quote_neither_number_nor_secret() -> None:
    words = f"'To' {NUMBER} or %2B{NUMBER[1:]}\r\nis not valid for {TOKEN}"
    async with provider_and_api(refusal(400, 21211, words)) as (provider, _):
        error = await failure(provider)
    said = "Twilio HTTP 400, code 21211: 'To' [recipient] or [recipient] is not valid for [secret]"
    assert str(error) == said


async def test_an_opt_out_holds_for_one_sender() -> None:
    def opted_out(request: Request) -> Reply:
        return refusal(400, 21610) if request.form().get("From") == FROM else twilio(request)

    async with http_api(opted_out) as api, provider_for(api.url) as provider:
        assert (await failure(provider)).verdict is Verdict.OPTED_OUT
        assert await provider.send(make_text(sender="CLARION")) == SID
        by_service = provider_for(api.url, from_number=None, messaging_service_sid=SERVICE)
        async with by_service as other:
            assert await other.send(make_text()) == SID


async def test_an_invalid_number_is_suppressed() -> None:
    async with provider_and_api() as (provider, _):
        error = await failure(provider, make_text(to="+1555"))
    assert error.verdict is Verdict.RECIPIENT_REFUSED
    assert str(error) == (
        "Twilio HTTP 400, code 21211: The 'To' number [recipient] is not a valid phone number."
    )


def test_no_secret_is_in_a_repr() -> None:
    settings = TwilioSettings(account_sid=ACCOUNT, auth_token=TOKEN, api_secret=SECRET, from_number=FROM)
    shown = f"{settings!r} {settings} {settings.__rich_repr__()}"
    assert "sesame" not in shown
    assert ACCOUNT in shown


def test_secrets_can_come_from_the_environment() -> None:
    environ = {
        "CLARION_PROVIDERS_SMS_TYPE": "twilio",
        "CLARION_PROVIDERS_SMS_ACCOUNT_SID": ACCOUNT,
        "CLARION_PROVIDERS_SMS_API_KEY": KEY,
        "CLARION_PROVIDERS_SMS_API_SECRET": SECRET,
        "CLARION_PROVIDERS_SMS_MESSAGING_SERVICE_SID": SERVICE,
        "CLARION_PROVIDERS_SMS_MAX_SEGMENTS": "3",
    }
    provider = build("sms", load(None, environ).providers["sms"], data_dir=Path())
    assert (provider.name, provider.policy.rate) == ("sms", 0)


WITH_TOKEN = {"account_sid": ACCOUNT, "auth_token": TOKEN}
WITH_SENDER = {"account_sid": ACCOUNT, "from_number": FROM}


@each_case(
    ("table", "expected"),
    [
        ({}, "providers.sms.account_sid: is required"),
        ({"account_sid": "AC0"}, "providers.sms.account_sid: expected `str` matching regex"),
        ({"account_sid": f"{ACCOUNT}\n"}, "providers.sms.account_sid: expected `str` matching regex"),
        (WITH_SENDER, "providers.sms.auth_token: is required: auth_token, or api_key and api_secret"),
        (
            WITH_SENDER | {"auth_token": TOKEN, "api_key": KEY},
            "providers.sms.auth_token: set this, or api_key",
        ),
        (
            WITH_SENDER | {"auth_token": TOKEN, "api_secret": SECRET},
            "providers.sms.auth_token: set this, or",
        ),
        (WITH_SENDER | {"api_key": KEY}, "providers.sms.api_secret: is required with an api_key"),
        (WITH_SENDER | {"api_secret": SECRET}, "providers.sms.api_key: is required: auth_token, or"),
        (
            WITH_SENDER | {"api_key": "AC0", "api_secret": SECRET},
            "providers.sms.api_key: expected `str` matching",
        ),
        (WITH_TOKEN, "providers.sms.from_number: is required, or messaging_service_sid"),
        (
            WITH_TOKEN | {"from_number": FROM, "messaging_service_sid": SERVICE},
            "providers.sms.from_number: set this or messaging_service_sid, not both",
        ),
        (WITH_TOKEN | {"from_number": "020 2555"}, "providers.sms.from_number: expected `str` matching"),
        (
            WITH_TOKEN | {"messaging_service_sid": "x"},
            "providers.sms.messaging_service_sid: expected `str`",
        ),
        (WITH_TOKEN | {"max_segments": 0}, "providers.sms.max_segments: expected `int` >= 1"),
    ],
)
def test_an_invalid_setting_is_named(table: dict[str, object], expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build("sms", {"type": "twilio", **table}, data_dir=Path())
    assert str(caught.value).startswith(expected)
    assert "sesame" not in str(caught.value)
