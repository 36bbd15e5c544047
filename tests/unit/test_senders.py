"""Senders of campaigns: every sender that can be applied can also be sent from."""

from __future__ import annotations

from email.parser import BytesParser
from email.policy import default

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.channels import CHANNELS
from server.channels.email_headers import mailbox_header
from server.channels.email_sender import parse_sender, sender_problem
from server.domain.campaign import Channel
from tests.kit.cases import each_case
from tests.kit.dispatch import make_campaign


@each_case(
    ("sender", "name", "address"),
    [
        ("shop@example.com", "", "shop@example.com"),
        ("shop@example.com (Shop, Inc.)", "Shop, Inc.", "shop@example.com"),
        (" <shop@example.com> ", "", "shop@example.com"),
        ("Shop <shop@example.com>", "Shop", "shop@example.com"),
        ("Shop, Inc. <shop@example.com>", "Shop, Inc.", "shop@example.com"),
        ('"Shop, Inc." <shop@example.com>', "Shop, Inc.", "shop@example.com"),
        ("Shop (EU): 24/7; <shop@example.com>", "Shop (EU): 24/7;", "shop@example.com"),
        ('"shop@home" <shop@example.com>', "shop@home", "shop@example.com"),
        (r'"The \"Shop\" <EU>" <shop@example.com>', 'The "Shop" <EU>', "shop@example.com"),
        ('The "Shop" <shop@example.com>', 'The "Shop"', "shop@example.com"),
        ("Shöp\n 商店 <shop@example.com>", "Shöp 商店", "shop@example.com"),
        ("=?utf-8?q?Sh=C3=B6p?= <shop@example.com>", "Shöp", "shop@example.com"),
        ("=?wrong <shop@example.com>", "=?wrong", "shop@example.com"),
        ("Shop <shop@faß.de>", "Shop", "shop@xn--fa-hia.de"),
        ("Shop <shop@BÜCHER.example>", "Shop", "shop@xn--bcher-kva.example"),
        ("shop@例子。中国", "", "shop@xn--fsqu00a.xn--fiqs8s"),
    ],
)
def test_name_and_address_of_a_sender(sender: str, name: str, address: str) -> None:
    assert sender_problem(sender) is None
    assert parse_sender(sender) == (name, address)
    line = mailbox_header("From", name, address).encode() + b"\r\n\r\n"
    [found] = BytesParser(policy=default).parsebytes(line)["From"].addresses
    assert (found.display_name, found.addr_spec) == (name, address)


@each_case(
    ("sender", "problem"),
    [
        ("not an address", '"not an address" is not an email address: it has no @; write one address'),
        ("shop@home <shop@example.com>", """put it in quotes: '"shop@home" <shop@example.com>'"""),
        ("a@b.example, c@d.example", "names several addresses; write one address, such as shop@example.com"),
        ("A <a@b.example>, B <c@d.example>", "names several addresses"),
        ("a@b.example, Shop <c@d.example>", "names several addresses"),
        ("Shop: a@b.example, c@d.example;", "names several addresses"),
        ("Shop", '"Shop" is not an email address: it has no @'),
        ("Shop <>", '"" is not an email address: it has no @'),
        ("Shop <shop>", '"shop" is not an email address: it has no @'),
        ("Shop <shop@example.com", "is not an email address: it contains a space at position 5"),
        ('"Shop <shop@example.com>"', "contains a double quote at position 1"),
        ("Shop <shöp@example.com>", "the character U+00F6 at position 3"),
        ("Shop <shop@example.com\r\nBcc: x@example.net>", "is not an email address"),
        ("Shop <shop@host>", "it should have a period"),
    ],
)
def test_problems_of_senders(sender: str, problem: str) -> None:
    assert problem in (sender_problem(sender) or "")
    [named] = CHANNELS[Channel.EMAIL].campaign_problems(make_campaign(sender=sender))
    assert named == f"sender: {sender_problem(sender)}"


_NAMES = st.text(max_size=200) | st.text("ab ,;:<>@\"'\\()=?é", max_size=20)
_ADDRESSES = st.sampled_from(["a@b.example", "a@faß.de", "a@b", "a", "", "a@b.example, c@d.example"])


@given(st.builds("{} <{}>".format, _NAMES, _ADDRESSES) | _NAMES | _ADDRESSES)
def test_a_sender_without_problem_can_be_sent_from(sender: str) -> None:
    if sender_problem(sender) is None:
        name, address = parse_sender(sender)
        field = mailbox_header("From", name, address).encode("ascii")
        assert field.count(address.encode()) == 1
        assert b"\n" not in field.replace(b"\r\n ", b"")


@pytest.mark.parametrize("sender", ["", "+12025550100", "12345", "Shop", "Shop 24/7", "A&B"])
def test_senders_of_text_messages(sender: str) -> None:
    assert CHANNELS[Channel.TEXT].campaign_problems(make_campaign(sender=sender)) == []


@pytest.mark.parametrize(
    ("sender", "problem"),
    [
        ("+1 202 555 0100", "is not a phone number in E.164 form, such as +12345678900: contains a space"),
        ("+1202555010", "is not a possible phone number: it has 9 digits after +1; numbers there have 10"),
        ("2025550100", "is not a phone number in E.164 form, such as +12345678900: does not start with +"),
        ("+", "is not a phone number in E.164 form"),
        ("(202) 555-0100", "or a name of at most 11 characters"),
        ("Shop, Incorporated", "or a name of at most 11 characters"),
        ("Shöp", "or a name of at most 11 characters"),
        ("shop@example.com", "or a name of at most 11 characters"),
        (" ", "or a name of at most 11 characters"),
    ],
)
def test_problems_of_senders_of_text_messages(sender: str, problem: str) -> None:
    [named] = CHANNELS[Channel.TEXT].campaign_problems(make_campaign(sender=sender))
    assert named.startswith(f'sender: "{sender}" is not a ')
    assert problem in named
