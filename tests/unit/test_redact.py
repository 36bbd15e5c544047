"""Error texts of `retain: none`: nothing that may quote the message, in what is recorded."""

from __future__ import annotations

import pytest

from server.dispatcher.redact import WITHHELD, withhold
from server.domain.campaign import Template
from server.domain.delivery_errors import ProviderError, Verdict
from tests.kit.dispatch import (
    MemoryCampaigns,
    MemoryQueue,
    ScriptedProvider,
    make_campaign,
    make_trigger,
    running,
)

CODE = "271828"
FAILING = "{{ 'abc' | slice: event.code }}"


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (f"SMTP 550 5.7.1 rejected: {CODE}", f"SMTP 550: {WITHHELD}"),
        (f"Twilio HTTP 400, code 21610: {CODE}", f"Twilio HTTP 400: {WITHHELD}"),
        (f"FCM HTTP 404 UNREGISTERED: {CODE}", f"FCM HTTP 404: {WITHHELD}"),
        (f"APNs HTTP 410: {CODE}", f"APNs HTTP 410: {WITHHELD}"),
        (f"SendGrid HTTP 503: {CODE}", f"SendGrid HTTP 503: {WITHHELD}"),
        (f"SMTP {CODE}", WITHHELD),
        (f"{CODE} SMTP 550", WITHHELD),
        (f"Other HTTP {CODE}", WITHHELD),
        ("", WITHHELD),
    ],
)
def test_only_a_leading_code_is_kept(text: str, kept: str) -> None:
    assert withhold(text) == kept


@pytest.mark.usefixtures("quiet_logs")
@pytest.mark.parametrize(("retain", "kept"), [("none", f"SMTP 550: {WITHHELD}"), ("", f"SMTP 550 {CODE}")])
async def test_refusals_are_recorded_without_their_text(retain: str, kept: str) -> None:
    queue = MemoryQueue()
    provider = ScriptedProvider("mail", ProviderError(Verdict.NEVER, f"SMTP 550 {CODE}"))
    async with running(queue, provider):
        queue.add(make_trigger(retain=retain))
        await queue.until_attempts(1)
    assert [done.attempt.error for done in queue.dead] == [kept]


@pytest.mark.usefixtures("quiet_logs")
@pytest.mark.parametrize(
    ("retain", "kept"),
    [
        ("none", f"the template cannot be rendered; {WITHHELD}"),
        ("", "default text, line 1, column 12: expected an integer"),
    ],
)
async def test_errors_of_templates_are_not_recorded(retain: str, kept: str) -> None:
    queue = MemoryQueue()
    campaign = make_campaign(templates={"default": Template(subject="Hello", text=FAILING)})
    async with running(queue, ScriptedProvider(), campaigns=MemoryCampaigns(campaign)):
        queue.add(make_trigger(retain=retain, event=f'{{"code":"x{CODE}"}}'))
        await queue.until_attempts(1)
    assert [done.attempt.error for done in queue.dead] == [kept]
