"""Addresses: which are valid, the form in which they are sent, and the problems of invalid ones."""

from __future__ import annotations

import itertools

import email_validator
import phonenumbers
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from phonenumbers import COUNTRY_CODE_TO_REGION_CODE

from server.channels.email_address import (
    _PLAIN_DOMAIN,
    _PLAIN_LOCAL,
    as_sent,
    email_problem,
    is_plain_email,
    set_refused_domains,
)
from server.channels.email_message import envelope_address
from server.channels.text import is_plain_phone, phone_pattern_problem, phone_problem

_LOCAL = st.text("abz09AZ_+-.", min_size=1, max_size=66)
_DOMAIN = st.lists(st.text("abxnz09AZ-", min_size=1, max_size=65), min_size=1, max_size=5).map(".".join)
_TOP = st.sampled_from(["co", "COM", "test", "Local", "arpa", "invalid", "localhost", "onion", "xn--p1ai"])
_WIDE = "\uff45xample\u3002com"
_ODD = st.text(max_size=8) | st.sampled_from(["münchen.de", "例子.中国", "faß.de", "b.co", _WIDE, "☃.com"])
ADDRESSES = (
    st.builds("{}@{}.{}".format, _LOCAL, _DOMAIN, _TOP)
    | st.builds(
        "{}@{}".format,
        st.from_regex(_PLAIN_LOCAL, fullmatch=True),
        st.from_regex(_PLAIN_DOMAIN, fullmatch=True),
    )
    | st.builds("{}@{}".format, st.text(max_size=8) | _LOCAL, _ODD)
    | st.emails()
)


@given(ADDRESSES)
def test_the_library_accepts_every_plain_address(address: str) -> None:
    if is_plain_email(address):
        judged = email_validator.validate_email(
            address, check_deliverability=False, allow_smtputf8=False, strict=True
        )
        assert judged.ascii_email is not None
        assert judged.ascii_email.casefold() == judged.normalized.casefold() == address.casefold()


@given(ADDRESSES)
def test_a_stored_address_can_be_sent_to(address: str) -> None:
    if len(address.encode()) <= 254 and email_problem(address) is None:
        sent = as_sent(address)
        assert sent.isascii()
        assert envelope_address(sent) == sent
        assert sent == address or not address.isascii()
        assert as_sent(sent) == sent
        assert email_problem(sent) is None


@pytest.mark.parametrize(
    ("address", "sent"),
    [
        ("A.b+C@Example.COM", "A.b+C@Example.COM"),
        ("o'hara@example.com", "o'hara@example.com"),
        ("PostMaster@Example.com", "PostMaster@Example.com"),
        ("a@XN--MNCHEN-3YA.de", "a@XN--MNCHEN-3YA.de"),
        ("Joerg@MÜNCHEN.de", "Joerg@xn--mnchen-3ya.de"),
        ("a@straße.de", "a@xn--strae-oqa.de"),
        ("a@例子.中国", "a@xn--fsqu00a.xn--fiqs8s"),
        (f"a@{_WIDE}", "a@example.com"),
    ],
)
def test_only_international_domains_are_converted(address: str, sent: str) -> None:
    assert email_problem(address) is None
    assert as_sent(address) == sent


def test_stored_addresses_are_sent_in_their_idna_2008_form() -> None:
    assert envelope_address("a@faß.de") == "a@xn--fa-hia.de"


@pytest.mark.parametrize(
    ("address", "problem"),
    [
        ("plain", "it has no @"),
        ("@b.co", "it has nothing before the @"),
        ("a@", "it has nothing after the @"),
        ("a b@c.co", "it contains a space at position 2, which is not allowed before the @"),
        ("jörg@b.co", "it contains the character U+00F6 at position 2, which is not allowed before the @"),
        ("A <a@b.co>", "it contains a space at position 2, which is not allowed before the @"),
        ("a@b.co\n", "it contains a line break at position 7, which is not allowed in a domain"),
        ("a@[127.0.0.1]", 'it contains a "[" at position 3, which is not allowed in a domain'),
        ("a" * 65 + "@b.co", "it has 65 characters before the @; at most 64 are allowed"),
        ("a@b", "the part after the @-sign is not valid, it should have a period"),
        ("a@ab--c.com", "its domain is not a valid name"),
    ],
)
def test_problems_of_email_addresses(address: str, problem: str) -> None:
    assert email_problem(address) == f"is not an email address: {problem}"


@pytest.mark.parametrize(
    "domain", ["a.test", "A.TEST", "mail.local", "a.home.arpa", "a.internal", "a.example"]
)
def test_domains_of_local_networks_are_deliverable(domain: str) -> None:
    assert email_problem(f"a@{domain}") is None
    assert is_plain_email(f"a@{domain}")


@pytest.mark.parametrize("name", ["invalid", "localhost", "onion", "arpa", "alt"])
def test_domains_without_mail_servers_are_not_deliverable(name: str) -> None:
    for domain in (f"a.{name}", f"b.a.{name.upper()}"):
        assert (
            email_problem(f"a@{domain}") == f'cannot be sent to: no mail server can have a name in "{name}"'
        )
        assert not is_plain_email(f"a@{domain}")
    assert email_problem(f"a@{name}") == (
        "is not an email address: the part after the @-sign is not valid, it should have a period"
    )


@pytest.mark.parametrize(
    "domain", ["a.test", "test.home.arpa", "xn--mnchen-3ya.de", "a.xn--mnchen-3ya.de", "münchen.de"]
)
def test_configured_domains_are_refused(domain: str) -> None:
    assert email_problem(f"a@{domain}") is None
    set_refused_domains(["test", "home.arpa", "xn--mnchen-3ya.de"])
    try:
        problem = email_problem(f"a@{domain}")
        assert problem is not None
        assert problem.startswith("cannot be sent to: this service does not send to the domain ")
        assert email_problem("a@b.latest") is None
    finally:
        set_refused_domains([])


@given(ADDRESSES | st.text())
@example("a@b\ud800.co")
@example("a@" + "é" * 100 + ".com")
def test_email_problems_never_quote_the_address(address: str) -> None:
    problem = email_problem(address)
    if problem:
        assert len(problem.encode()) <= 120
        assert not [part for part in address.split("@") if len(part) > 4 and part in problem]


@pytest.mark.parametrize(
    ("number", "problem"),
    [
        ("12345678900", "does not start with +"),
        ("+012345678", "has a 0 after the +"),
        ("+123456", "has 6 digits; 7 to 15 are allowed"),
        ("+1 234", "contains a space at position 3"),
        ("+1202555CALL", 'contains a "C" at position 9'),
    ],
)
def test_problems_of_numbers_not_in_e164_form(number: str, problem: str) -> None:
    assert phone_pattern_problem(number).endswith(f"such as +12345678900: {problem}")


@pytest.mark.parametrize(
    ("number", "problem"),
    [
        ("+1234567", "it has 6 digits after +1; numbers there have 10"),
        ("+12345678", "it has 7 digits after +1; numbers there have 10"),
        ("+123456789012", "it has 11 digits after +1; numbers there have 10"),
        ("+44999123", "it has 6 digits after +44; numbers there have 7, 9 or 10"),
        ("+35312345", "it has 5 digits after +353; numbers there have 7 to 10"),
        ("+99912345678", "it does not start with a country code"),
        ("+4401632960961", "drop the prefix after +44, which is only for calls within the country"),
        ("+112345678900", "drop the prefix after +1, which is only for calls within the country"),
    ],
)
def test_problems_of_impossible_numbers(number: str, problem: str) -> None:
    assert phone_problem(number) == f"is not a possible phone number: {problem}"


@given(st.from_regex(r"\+[1-9][0-9]{6,14}", fullmatch=True))
def test_accepted_numbers_are_possible_and_international(number: str) -> None:
    problem = phone_problem(number)
    if problem is None:
        parsed = phonenumbers.parse(number)
        assert phonenumbers.is_possible_number(parsed)
        assert phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164) == number
    else:
        assert number[1:] not in problem
        assert len(problem) <= 120


@pytest.mark.long
def test_plain_numbers_are_those_without_problem() -> None:
    """Every country code, every length, and beginnings that the library might drop."""
    starts = ("", "0", "1", "8", "15", "90", "06", "11", "44", "2215", "180020", "9115")
    for code, start, digits in itertools.product(COUNTRY_CODE_TO_REGION_CODE, starts, range(15)):
        number = f"+{code}{start}{'2345678901234567'[:digits]}"
        if 8 <= len(number) <= 16:
            assert is_plain_phone(number) == (phone_problem(number) is None), number


@given(st.from_regex(r"\+[1-9][0-9]{6,14}", fullmatch=True))
def test_any_number_is_plain_if_it_has_no_problem(number: str) -> None:
    assert is_plain_phone(number) == (phone_problem(number) is None)
