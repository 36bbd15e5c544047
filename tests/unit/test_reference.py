"""The pages generated from the protos: up to date, complete, and safe to serve."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest

from clarion.admin.v1 import options_pb2
from gateway.config.documents import SCRIPT
from generate import page
from generate.described import ADMIN, bindings, load, prose
from generate.documents import ROOT, documents
from generate.examples import BATCH_BODY
from generate.members_table import with_table
from generate.reasons import reasons, reasons_in, violation_reasons
from tests.kit.documented_schemas import DOCUMENT

MADE = documents()
HTML = MADE["protos/clarion/v1/docs.html"]
ADMIN_HTML = MADE["protos/clarion/v1/admin-docs.html"]
ADMIN_API = MADE["docs/reference/admin-api.md"]
ERRORS = MADE["docs/reference/errors.md"]
GRPC = MADE["docs/reference/grpc.md"]
REST = MADE["docs/reference/rest.md"]
REQUIRED_ROLE: Any = options_pb2.required_role  # its .pyi file predates typed extensions
VOID_TAGS = {"meta"}
of_both = pytest.mark.parametrize("html", [HTML, ADMIN_HTML], ids=["client", "admin"])


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


@of_both
def test_page_loads_no_resources(html: str) -> None:
    shown = Page(html)
    tags = {tag for tag, _ in shown.tags}
    assert not tags & {"img", "link", "iframe", "object", "form", "svg", "base"}
    assert not shown.values("src")
    assert not shown.values("style")
    assert "url(" not in html
    assert "@import" not in html
    assert not [name for _, found in shown.tags for name in found if name.startswith("on")]


@of_both
def test_links_of_the_page_resolve(html: str) -> None:
    shown = Page(html)
    anchors = shown.values("id")
    assert len(anchors) == len(set(anchors))
    links = set(shown.values("href"))
    assert {link.removeprefix("#") for link in links if link.startswith("#")} <= set(anchors)
    others = {link for link in links if not link.startswith("#")}
    assert others == (
        {"openapi.json", "docs/admin"} if html is HTML else {"../openapi/admin.json", "../docs"}
    )


@pytest.mark.parametrize(("package", "name"), [("clarion.v1", ""), (ADMIN, "admin-")])
def test_page_shows_every_call_reason_and_schema(package: str, name: str) -> None:
    anchors = set(Page(MADE[f"protos/clarion/v1/{name}docs.html"]).values("id"))
    document = json.loads(MADE[f"protos/clarion/v1/{name}openapi.json"])
    assert {one["operationId"] for verbs in document["paths"].values() for one in verbs.values()} <= anchors
    assert {one.name for one in reasons_in(load(package)).values() if one.statuses} <= anchors
    assert {f"object-{name}" for name in document["components"]["schemas"]} <= anchors


def test_page_supports_phones_and_dark_mode() -> None:
    assert 'name="viewport"' in HTML
    assert "prefers-color-scheme: dark" in HTML


@of_both
def test_page_knows_its_own_address(html: str) -> None:
    [script] = SCRIPT.findall(html.encode())
    assert b'getElementById("at").textContent = location.href' in script
    assert '<span id="at">http://127.0.0.1:8080</span>' in html


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
    made = page.render(document, load())
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


def test_admin_api_md_shows_every_method_and_its_role() -> None:
    described = load(ADMIN)
    titles = set(re.findall(r"^#+ (.+)$", ADMIN_API, re.M))
    for service in described.services:
        assert {service.name, *(method.name for method in service.methods)} <= titles
        for method in service.methods:
            section = re.search(rf"^### {method.name}\n(.*?)(?=^###|\Z)", ADMIN_API, re.M | re.S)
            assert section, method.name
            role = method.GetOptions().Extensions[REQUIRED_ROLE]
            assert (f"Needs the role `{role}`." in section[1]) == bool(role)


def test_rest_md_lists_every_member_of_a_trigger() -> None:
    user, body = (load().message(name).fields for name in ("EmailUser", "TriggerEmailRequest"))
    in_body = [field.name for field in body if field.name not in {"campaign_id", "request_id"}]
    for member in (*(f"user.{field.name}" for field in user), *in_body):
        assert f"| `{member}` | " in REST, member
    assert "| `user.phone` | required by its channel |" in REST


def test_page_without_a_place_for_the_table_stops_the_build() -> None:
    with pytest.raises(LookupError, match=r"rest\.md must have one generated part"):
        with_table("# REST", DOCUMENT)


@pytest.mark.parametrize("text", [ERRORS, GRPC, ADMIN_API], ids=["errors.md", "grpc.md", "admin-api.md"])
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
