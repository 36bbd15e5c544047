"""SendGrid's v3 Mail Send API, played by a server that accepts only what the documentation allows."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from server.channels.email_message import Email
from server.dispatcher.providers import build, http
from server.dispatcher.providers.base import Provider
from server.domain.delivery_errors import ProviderError, Verdict
from server.errors import ConfigError
from tests.kit.cases import each_case
from tests.kit.http_api import Api, Reply, http_api
from tests.kit.sendgrid_api import ADDRESS, KEY, MESSAGE_ID, make_email, refusal, sendgrid


@contextlib.asynccontextmanager
async def provider_for(url: str, **settings: object) -> AsyncIterator[Provider]:
    table = {"type": "sendgrid", "url": url, "api_key": KEY, **settings}
    provider = build("grid", table, data_dir=Path())
    try:
        yield provider
    finally:
        await provider.aclose()


@contextlib.asynccontextmanager
async def provider_and_api(*script: Reply, **settings: object) -> AsyncIterator[tuple[Provider, Api]]:
    async with http_api(sendgrid) as api, provider_for(api.url, **settings) as provider:
        api.script += script
        yield provider, api


async def failure(provider: Provider, message: Email | None = None) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        await asyncio.wait_for(provider.send(message or make_email()), 60)
    said = f"{caught.value} {caught.value.__cause__!r}".lower()
    assert "sommer" not in said
    assert "sesame" not in said
    return caught.value


async def sent(message: Email, **settings: object) -> Any:
    """Send a message and return the JSON that arrived."""
    async with provider_and_api(**settings) as (provider, api):
        await provider.send(message)
    return api.requests[0].json()


async def test_an_email_arrives_unchanged() -> None:
    message = make_email()
    async with provider_and_api() as (provider, api):
        message_id = await provider.send(message)
    assert message_id == MESSAGE_ID
    (request,) = api.requests
    assert request.json() == {
        "personalizations": [
            {"to": [{"email": ADDRESS}], "custom_args": {"trigger_id": str(message.trigger_id)}}
        ],
        "from": {"email": "shop@example.com", "name": "Shöp"},
        "subject": "Grüße",
        "content": [
            {"type": "text/plain", "value": "Hallo\nZoë"},
            {"type": "text/html", "value": "<p>Hallo</p>"},
        ],
        "headers": {
            "Message-ID": message.message_id,
            "Auto-Submitted": "auto-generated",
            "X-Clarion-Trigger-Id": str(message.trigger_id),
        },
    }


async def test_the_unsubscribe_url_is_in_the_headers() -> None:
    headers = (await sent(make_email(unsubscribe_url="https://shop.example/u?id=1")))["headers"]
    assert headers["List-Unsubscribe"] == "<https://shop.example/u?id=1>"
    assert headers["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert headers["List-Id"] == "<campaign-9.project-1.clarion.example.com>"


@pytest.mark.parametrize(
    ("sender", "expected"),
    [
        ("shop@example.com", {"email": "shop@example.com"}),
        ('"Shop, Inc." <shop@example.com>', {"email": "shop@example.com", "name": "Shop, Inc."}),
        ("Shop, Inc. <shop@faß.de>", {"email": "shop@xn--fa-hia.de", "name": "Shop, Inc."}),
        ("Shöp <shop@bücher.example>", {"email": "shop@xn--bcher-kva.example", "name": "Shöp"}),
    ],
)
async def test_the_sender_has_name_and_address(sender: str, expected: dict[str, str]) -> None:
    assert (await sent(make_email(sender=sender)))["from"] == expected


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ({"text": "", "html": "<p>x</p>"}, [{"type": "text/html", "value": "<p>x</p>"}]),
        ({"text": "x", "html": ""}, [{"type": "text/plain", "value": "x"}]),
    ],
)
async def test_an_empty_part_is_left_out(parts: dict[str, str], expected: list[dict[str, str]]) -> None:
    assert (await sent(make_email(**parts)))["content"] == expected


async def test_a_subject_is_one_line() -> None:
    mail = await sent(make_email(subject="Hello\r\nBcc: x@example.net\x00\u2028you 👩‍🚀"))
    assert mail["subject"] == "Hello Bcc: x@example.net you 👩‍🚀"


async def test_an_international_domain_is_sent_in_ascii() -> None:
    mail = await sent(make_email(to="zoe@bücher.example"))
    assert mail["personalizations"][0]["to"] == [{"email": "zoe@xn--bcher-kva.example"}]


async def test_sandbox_mode_accepts_a_checked_message() -> None:
    async with provider_and_api(sandbox_mode=True) as (provider, api):
        message_id = await provider.send(make_email())
    assert message_id == ""
    assert api.requests[0].json()["mail_settings"] == {"sandbox_mode": {"enable": True}}


async def test_a_message_only_checked_is_a_failure() -> None:
    async with provider_and_api(Reply(200, b"")) as (provider, _):
        error = await failure(provider)
    assert error.verdict is Verdict.PROVIDER_DOWN
    assert str(error) == "SendGrid HTTP 200: no readable error"


async def test_categories_are_sent() -> None:
    assert (await sent(make_email(), categories=["clarion", "shop"]))["categories"] == ["clarion", "shop"]


TO = "personalizations.0.to.0.email"


@each_case(
    ("reply", "expected"),
    [
        (refusal(400, "Does not contain a valid address.", TO), Verdict.RECIPIENT_REFUSED),
        (refusal(400, "The to array is required.", "personalizations.0.to"), Verdict.NEVER),
        (refusal(400, "The to array is required.", "personalizations.to"), Verdict.NEVER),
        (refusal(400, "The subject is required.", "subject"), Verdict.NEVER),
        (refusal(400, "Does not contain a valid address.", "from.email"), Verdict.NEVER),
        (refusal(400, "Must be unique.", "personalizations.0"), Verdict.NEVER),
        (refusal(400, "Not a string.", "personalizations.0.token"), Verdict.NEVER),
        (refusal(400, "Bad Request"), Verdict.NEVER),
        (
            Reply(400, {"errors": [{"message": "a", "field": TO}, {"message": "b", "field": "subject"}]}),
            Verdict.NEVER,
        ),
        (refusal(401, "Maximum credits exceeded"), Verdict.PROVIDER_DOWN),
        (
            refusal(403, "The from address does not match a verified Sender Identity.", "from"),
            Verdict.PROVIDER_DOWN,
        ),
        (refusal(404, "Not found"), Verdict.PROVIDER_DOWN),
        (refusal(405, "Method not allowed"), Verdict.PROVIDER_DOWN),
        (refusal(406, "Missing Accept header"), Verdict.PROVIDER_DOWN),
        (refusal(413, "Payload too large"), Verdict.NEVER),
        (Reply(413, b"<html>too large</html>"), Verdict.NEVER),
        (refusal(415, "Unsupported media type"), Verdict.PROVIDER_DOWN),
        (refusal(429, "too many requests"), Verdict.PROVIDER_DOWN),
        (refusal(451, "Unavailable due to data residency restrictions"), Verdict.PROVIDER_DOWN),
        (refusal(500, "Internal server error"), Verdict.PROVIDER_DOWN),
        (Reply(502, b"<html>Bad Gateway</html>"), Verdict.IN_DOUBT),
        (refusal(503, "Service not available"), Verdict.PROVIDER_DOWN),
    ],
)
async def test_verdict_of_each_answer(reply: Reply, expected: Verdict) -> None:
    async with provider_and_api(reply) as (provider, _):
        error = await failure(provider)
        assert error.verdict is expected
        assert f"SendGrid HTTP {reply.status}: " in str(error)
        await provider.send(make_email())


async def test_errors_quote_neither_address_nor_key() -> None:
    faults = [
        {"message": f"{ADDRESS.upper()}\r\nis not valid", "field": TO, "help": None},
        {"message": f"for key {KEY}"},
    ]
    async with provider_and_api(Reply(400, {"errors": faults})) as (provider, _):
        error = await failure(provider)
    said = f"SendGrid HTTP 400: [recipient] is not valid ({TO}); for key [api_key]"
    assert str(error) == said


async def test_a_long_error_is_truncated() -> None:
    async with provider_and_api(refusal(400, "no " * 5000, "subject")) as (provider, _):
        assert len(str(await failure(provider))) <= 500


@pytest.mark.parametrize(
    ("headers", "low", "high"),
    [
        ({"Retry-After": "7"}, 7, 7),
        ({"Retry-After": "0", "X-RateLimit-Reset": "9999999999"}, 0, 0),
        ({"X-RateLimit-Reset": "-100 s"}, 0, 0),
        ({"X-RateLimit-Reset": "+1000 s"}, 900, 1000),
    ],
)
async def test_a_throttle_has_a_retry_time(headers: dict[str, str], low: float, high: float) -> None:
    if seconds := re.fullmatch(r"([+-]\d+) s", headers.get("X-RateLimit-Reset", "")):
        headers = {"X-RateLimit-Reset": str(int(time.time()) + int(seconds[1]))}
    reply = Reply(429, {"errors": [{"field": None, "message": "too many requests"}]}, headers)
    async with provider_and_api(reply) as (provider, _):
        error = await failure(provider)
    assert error.verdict is Verdict.PROVIDER_DOWN
    assert error.retry_after is not None
    assert low <= error.retry_after <= high


@pytest.mark.parametrize("reset", ["", "soon", "-5", "1e9", "١٢٣"])
async def test_an_unreadable_reset_time_is_ignored(reset: str) -> None:
    reply = Reply(429, {}, {"X-RateLimit-Reset": reset.encode().decode("latin-1")})
    async with provider_and_api(reply) as (provider, _):
        error = await failure(provider)
    assert error.verdict is Verdict.PROVIDER_DOWN
    assert error.retry_after is None


@pytest.mark.parametrize("address", [f"{ADDRESS}\r\nx", f"{ADDRESS},x@example.net", "x", "sommer@"])
async def test_an_invalid_address_is_not_sent(address: str) -> None:
    async with provider_and_api() as (provider, api):
        assert (await failure(provider, make_email(to=address))).verdict is Verdict.NEVER
    assert api.connections == 0


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ({}, "providers.grid.api_key: is required"),
        ({"api_key": ""}, "providers.grid.api_key: expected `str` matching regex"),
        ({"api_key": "SG.sesame\n"}, "providers.grid.api_key: expected `str` matching regex"),
        ({"api_key": KEY, "sandbox_mode": "maybe"}, "providers.grid.sandbox_mode: expected `bool`"),
        ({"api_key": KEY, "categories": ["x"] * 11}, "providers.grid.categories: expected `array` of length"),
        ({"api_key": KEY, "categories": [""]}, "providers.grid.categories[0]: expected `str` of length"),
    ],
)
def test_an_invalid_setting_is_named(table: dict[str, object], expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build("grid", {"type": "sendgrid", **table}, data_dir=Path())
    assert str(caught.value).startswith(expected)
    assert "sesame" not in str(caught.value)


async def test_an_accepted_message_needs_no_whole_body(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "BODY_TIMEOUT", 0.1)
    hanging = Reply(202, b"{", {"Content-Length": "999", "X-Message-Id": "m-1"})
    async with provider_and_api(hanging) as (provider, api):
        assert await provider.send(make_email()) == "m-1"
    assert len(api.requests) == 1
