"""An email as it is rendered and composed: headers, addresses, parts."""

from __future__ import annotations

import datetime as dt
import email
import email.policy
from email.message import EmailMessage

import pytest

from server.channels.email_message import Email, compose
from server.domain.campaign import Template
from server.domain.delivery_errors import Verdict
from server.templates.render import Renderer
from tests.kit.dispatch import make_campaign, make_trigger
from tests.kit.rendering import render
from tests.kit.verdicts import raises


def parsed(message: Email) -> EmailMessage:
    found = email.message_from_bytes(compose(message), policy=email.policy.SMTP)
    assert isinstance(found, EmailMessage)
    assert not found.defects
    return found


def test_a_subject_is_one_line() -> None:
    message = render(
        Template(subject="Hi {{ event.n }}", text="x"), event='{"n": "a\\r\\nBcc: other@example.com"}'
    )
    mail = parsed(message)
    assert mail["Subject"] == "Hi a Bcc: other@example.com"
    assert mail["Bcc"] is None


@pytest.mark.parametrize(
    "address",
    [
        "a@example.org\r\nBcc: other@example.com",
        "a@example.org\nRCPT TO:<other@example.com>",
        "a@example.org, other@example.com",
        "a@example.org>",
        "<other@example.com>a@example.org",
        '"a b"@example.org',
        "a@example.org\x00",
        "no address",
        "",
    ],
)
def test_invalid_addresses_are_rejected(address: str) -> None:
    message = Renderer().render(make_campaign(), make_trigger(address=address))
    assert isinstance(message, Email)
    with raises(Verdict.NEVER) as caught:
        compose(message)
    assert "example" not in str(caught.value)


def test_an_invalid_sender_is_rejected() -> None:
    with raises(Verdict.NEVER, match="sender"):
        Renderer().render(make_campaign(sender="Shop"), make_trigger())


def test_the_standard_parser_reads_the_email_back() -> None:
    message = render(
        Template(
            subject="Ihre Bestellung für 🎉 ist unterwegs, und dieser Betreff ist mit Absicht etwas zu lang",
            text="Hallo Zoë,\n.\n.dot\nFrom here: trailing space \n" + "lang " * 300,
            html="<p>größer = besser</p>",
        )
    )
    mail = parsed(message)
    assert mail["Subject"] == message.subject
    text, html = mail.get_body(("plain",)), mail.get_body(("html",))
    assert isinstance(text, EmailMessage)
    assert isinstance(html, EmailMessage)
    assert text.get_content().replace("\r\n", "\n") == message.text + "\n"
    assert html.get_content().strip() == message.html
    assert mail.get_content_type() == "multipart/alternative"
    assert max(len(line) for line in compose(message).split(b"\r\n")) <= 78
    assert b"\n" not in compose(message).replace(b"\r\n", b"")


def test_an_email_has_the_usual_headers() -> None:
    message = render(Template(text="x"))
    mail = parsed(message)
    assert mail["Message-ID"] == message.message_id == f"<{message.trigger_id}@clarion.example.com>"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["X-Clarion-Trigger-Id"] == str(message.trigger_id)
    assert mail["From"].addresses[0].addr_spec == "shop@example.com"
    assert mail["To"] == message.to
    assert abs(dt.datetime.now(dt.UTC) - mail["Date"].datetime) < dt.timedelta(minutes=1)
    assert mail.get_content_type() == "text/plain"


def test_an_international_domain_is_sent_in_ascii() -> None:
    message = Renderer().render(
        make_campaign(sender="Büro <hallo@bücher.example>"), make_trigger("z@münchen.example")
    )
    assert isinstance(message, Email)
    mail = parsed(message)
    assert mail["To"] == "z@xn--mnchen-3ya.example"
    assert mail["From"].addresses[0].display_name == "Büro"
