"""Headers of emails: they are read back unchanged, and keep to the lengths of RFC 2047 and RFC 5322."""

from __future__ import annotations

import re
from email.header import decode_header, make_header
from email.parser import BytesParser
from email.policy import default
from email.utils import parseaddr

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from server.channels.email_headers import (
    MAX_URL,
    list_header,
    list_headers,
    mailbox_header,
    one_line,
    text_header,
)

_WORD = re.compile(r"=\?utf-8\?b\?[A-Za-z0-9+/=]*\?=")
_TEXT = st.text(st.characters(exclude_categories=["Cs", "Co", "Cn"]), max_size=120) | st.text(
    "aé🎉 =?", max_size=120
)


def read(field: str) -> str:
    """Return a header's value as another program reads it, after checking the lengths of its lines."""
    for line in field.split("\r\n"):
        words = _WORD.findall(line)
        assert all(len(word) <= 75 for word in words)
        assert len(line) <= (76 if words else 998)
    [value] = BytesParser(policy=default).parsebytes(field.encode("ascii") + b"\r\n\r\n").values()
    return str(value)


@given(_TEXT)
@example("ü" * 200)
@example("x=?utf-8?b?eA==?=")
def test_subjects_are_read_back(text: str) -> None:
    line = one_line(text)
    assert read(text_header("Subject", text)) == line


@given(_TEXT)
@example("Ü" * 200)
@example("S" * 300)
@example('\\"')
def test_names_are_read_back(text: str) -> None:
    name = one_line(text)
    field = mailbox_header("From", name, "shop@example.com")
    read(field)
    shown, address = parseaddr(field.removeprefix("From:"))
    assert (str(make_header(decode_header(shown))), address) == (name, "shop@example.com")


@pytest.mark.parametrize("length", [40, 76, 990, 995, 996, 1500, MAX_URL])
def test_long_unsubscribe_urls_are_folded(length: int) -> None:
    url = "https://shop.example/u?".ljust(length, "x")
    field = list_header("List-Unsubscribe", list_headers("l.example", url)["List-Unsubscribe"])
    value = read(field)
    assert re.sub(r"\s", "", value) == f"<{url}>"
    assert (" " in value.strip()) == (length > 995)


def test_only_campaigns_to_unsubscribe_from_are_lists() -> None:
    assert list_headers("l.example", "") == {}
    assert list_headers("l.example", "mailto:leave@shop.example") == {
        "List-Id": "<l.example>",
        "List-Unsubscribe": "<mailto:leave@shop.example>",
    }
