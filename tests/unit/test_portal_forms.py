"""Forms of the portal: numbers that people or robots send, and where violations appear."""

from __future__ import annotations

import pytest
from starlette.datastructures import FormData

from portal.errors import ApiError, Violation
from portal.forms import Form, kept_fields
from portal.numbers import whole_number
from portal.security import Protected


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0),
        ("44", 44),
        ("2147483647", 2**31 - 1),
        ("2147483648", None),
        ("9" * 5000, None),
        ("", None),
        ("-1", None),
        ("1.5", None),
        ("\N{SUPERSCRIPT TWO}", None),
        ("\N{ARABIC-INDIC DIGIT ONE}", None),
    ],
)
def test_whole_numbers_are_read(text: str, number: int | None) -> None:
    assert whole_number(text) == number


def test_violations_appear_next_to_their_fields() -> None:
    form = Form(FormData([("providers", "A"), ("addresses", "a\nb"), ("display_name", "")]))
    form.note(
        [
            Violation("content.providers[0]", "is wrong"),
            Violation("content.display_name", "is missing"),
            Violation("content.templates", "is empty"),
            Violation("addresses[1]", "is not an address"),
        ]
    )
    assert form.errors == {
        "providers": "is wrong.",
        "display_name": "is missing",
        "content.templates": "is empty",
        "addresses": "Line 2: is not an address.",
    }


def test_violations_have_the_names_of_the_form() -> None:
    form = Form(FormData([("de.html", "{%")]))
    of_api = "content.templates[1].html"
    violations = (Violation(of_api, "line 1"), Violation(of_api, "line 2"))
    with form.checked(names={of_api: "de.html"}):
        raise ApiError("INVALID_REQUEST", "2 violations", violations, 422)
    assert form.errors == {"de.html": "line 1; line 2"}
    assert (form.shows("de.html"), form.shows("content.retry_policy.factor")) == (True, False)


async def test_a_fault_after_its_page_keeps_the_connection() -> None:
    """The server closes a connection on which an error is raised, though its response is complete."""
    sent: list[str] = []

    async def faulty(_scope: object, _receive: object, send: object) -> None:
        await send({"type": "http.response.start", "status": 500, "headers": []})  # type: ignore[operator]
        await send({"type": "http.response.body", "body": b"", "more_body": more})  # type: ignore[operator]
        raise ZeroDivisionError

    async def receive() -> dict[str, str]:
        return {"type": "http.request"}

    async def send(message: object) -> None:
        sent.append(str(message))

    more = False
    await Protected(faulty)({"type": "http"}, receive, send)
    assert len(sent) == 2
    more = True
    with pytest.raises(ZeroDivisionError):
        await Protected(faulty)({"type": "http"}, receive, send)


def test_kept_fields_can_be_written_into_pages() -> None:
    assert kept_fields('[["name", "a\\ud800"]]') == [("name", "a?")]
