"""The pages generated from the protos: up to date, complete, and safe to serve."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest

from gateway.config.documents import SCRIPT
from generate import page
from generate.described import bindings, load, prose
from generate.documents import ROOT, documents
from generate.examples import BATCH_BODY
from generate.members_table import with_table
from generate.reasons import reasons, violation_reasons
from tests.kit.documented_schemas import DOCUMENT

MADE = documents()
HTML = MADE["protos/clarion/v1/docs.html"]
ERRORS = MADE["docs/reference/errors.md"]
GRPC = MADE["docs/reference/grpc.md"]
REST = MADE["docs/reference/rest.md"]
VOID_TAGS = {"meta"}


class Page(HTMLParser):
    """Collects the contents of a page, and checks that its tags match."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID_TAGS:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"line {self.getpos()[0]}"

    def handle_data(self, data: str) -> None:
        self.text += data

    def values(self, attribute: str) -> list[str]:
        return [value for _, found in self.tags if (value := found.get(attribute))]


@pytest.mark.parametrize("name", MADE)
def test_document_is_up_to_date(name: str) -> None:
    assert (ROOT / name).read_text(encoding="utf-8") == MADE[name], "stale file: run make proto"


def test_page_loads_no_resources() -> None:
    shown = Page(HTML)
    tags = {tag for tag, _ in shown.tags}
    assert not tags & {"img", "link", "iframe", "object", "form", "svg", "base"}
    assert not shown.values("src")
    assert not shown.values("style")
    assert "url(" not in HTML
    assert "@import" not in HTML
    assert not [name for _, found in shown.tags for name in found if name.startswith("on")]


def test_links_of_the_page_resolve() -> None:
    shown = Page(HTML)
    anchors = shown.values("id")
    assert len(anchors) == len(set(anchors))
    links = set(shown.values("href"))
    assert {link.removeprefix("#") for link in links if link.startswith("#")} <= set(anchors)
    assert {link for link in links if not link.startswith("#")} == {"openapi.json"}


def test_page_shows_every_call_reason_and_schema() -> None:
    anchors = set(Page(HTML).values("id"))
    document = json.loads(MADE["protos/clarion/v1/openapi.json"])
    assert {one["operationId"] for verbs in document["paths"].values() for one in verbs.values()} <= anchors
    assert {one.name for one in reasons(load()).values() if one.statuses} <= anchors
    assert {f"object-{name}" for name in document["components"]["schemas"]} <= anchors


def test_page_supports_phones_and_dark_mode() -> None:
    assert 'name="viewport"' in HTML
    assert "prefers-color-scheme: dark" in HTML


def test_page_knows_its_own_address() -> None:
    [script] = SCRIPT.findall(HTML.encode())
    assert b'getElementById("at").textContent = location.href' in script
    assert '<span id="at">http://127.0.0.1:8080</span>' in HTML


def test_page_shows_the_body_of_a_batch() -> None:
    _, _, command = Page(HTML).text.partition('curl -i "$AT/api/client/triggers:batch"')
    _, _, body = command.partition("-d '")
    assert json.loads(body.partition("'\n")[0].partition("'")[0]) == BATCH_BODY


def test_page_shows_a_curl_command() -> None:
    assert (
        """curl -i "$AT/api/client/campaigns/44/trigger" \\
  -H "Authorization: Bearer $KEY" \\
  -H 'Content-Type: application/json' \\
  -d '{"user": {"external_id": "EXTERNAL_ID", "email": "test@test.com","""
        in Page(HTML).text
    )


def test_comments_are_escaped() -> None:
    evil = "<script>alert(1)</script> `<b>`"
    document: dict[str, Any] = json.loads(MADE["protos/clarion/v1/openapi.json"])
    document["info"].update(description=evil, title=evil)
    for schema in document["components"]["schemas"].values():
        schema["description"] = evil
    made = page.render(document, reasons(load()).values())
    assert [tag for tag, _ in Page(made).tags if tag in {"script", "b"}] == ["script"]  # its own
    assert "&lt;script&gt;" in made


def test_errors_md_explains_every_reason() -> None:
    described = load()
    for reason in reasons(described).values():
        section = re.search(rf"^### {reason.name}\n(.*?)(?=^##)", ERRORS, re.M | re.S)
        assert section, reason.name
        assert f"**What to do:** {reason.to_do}" in section[1]
        assert all(str(status) in section[1] for status in reason.statuses)
    for name in violation_reasons(described):
        assert f"| `{name}` |" in ERRORS


def test_grpc_md_shows_every_method_and_request() -> None:
    described = load()
    titles = set(re.findall(r"^#+ (.+)$", GRPC, re.M))
    for service in described.services:
        assert {service.name, *(method.name for method in service.methods)} <= titles
        assert {method.input_type.name for method in service.methods} <= titles
    for binding in bindings(described):
        assert f"`{binding.verb.upper()} {binding.path}`" in GRPC


def test_rest_md_lists_every_member_of_a_trigger() -> None:
    user, body = (load().message(name).fields for name in ("EmailUser", "TriggerEmailRequest"))
    in_body = [field.name for field in body if field.name not in {"campaign_id", "request_id"}]
    for member in (*(f"user.{field.name}" for field in user), *in_body):
        assert f"| `{member}` | " in REST, member
    assert "| `user.phone` | required by its channel |" in REST


def test_page_without_a_place_for_the_table_stops_the_build() -> None:
    with pytest.raises(LookupError, match=r"rest\.md must have one generated part"):
        with_table("# REST", DOCUMENT)


@pytest.mark.parametrize("text", [ERRORS, GRPC], ids=["errors.md", "grpc.md"])
def test_links_within_a_reference_resolve(text: str) -> None:
    titles = [title.lower() for title in re.findall(r"^#+ (.+)$", text, re.M)]
    assert len(titles) == len(set(titles))
    links = set(re.findall(r"\]\(#([^)]+)\)", text))
    assert links
    assert links <= set(titles)


@pytest.mark.parametrize(
    ("comment", "shown"),
    [
        ("phone is a number.", "A number."),
        ("phone are\nnumbers.", "Numbers."),
        ("phone: a number\nof someone.\n\nMore.", "A number of someone.\n\nMore."),
        ("phone means that it rings.", "It rings."),
        ("phone counts.", "Counts."),
        ("phones are many.", "Phones are many."),
        ("phone is so:\n\n    a\n      b\n", "So:\n\n    a\n      b"),
    ],
)
def test_prose_omits_the_leading_name(comment: str, shown: str) -> None:
    assert prose(comment, "phone") == shown
