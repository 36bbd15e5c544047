"""Every form of the portal, found by reading its pages: roles, wrong values, stale and foreign forms."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest

from portal.pages import PAGES
from server.store.pool import Pool
from tests.contract.portal.conftest import SAME, Visitor
from tests.contract.portal.test_every_page import changes
from tests.kit.html_pages import Field, PageForm, PageOfHtml, read_page
from tests.kit.portal_world import World, mark

pytestmark = pytest.mark.long

CSRF = "csrf_token"
LARGE = "x" * 100_000
HOSTILE = (
    "",
    LARGE,
    "a\0b\x01\x1b[2J\N{RIGHT-TO-LEFT OVERRIDE}",
    mark("field"),
    "{% if %}",
    "9" * 5000,
    "-1",
    "1e400",
    "\N{SUPERSCRIPT TWO}",
)
FOR_EVERYONE = {"/campaigns/{project}/{campaign_id}/preview": 200, "/api": 422}
"""Forms that a viewer may send, and the answer: a preview; a trigger, which needs an API key."""
TYPED = ("text", "textarea")
SINCE = "2020-01-01T00:00"


@dataclass(frozen=True)
class Found:
    """A form, and the page that it is on."""

    path: str
    address: str
    form: PageForm

    def data(self) -> dict[str, str | list[str]]:
        """Return what a person who changes nothing sends, without the token."""
        return {name: value for name, value in self.form.data().items() if name != CSRF}

    @property
    def fields(self) -> list[Field]:
        return [one for one in self.form.fields if one.name != CSRF and one.kind != "file"]

    @property
    def is_confirmation(self) -> bool:
        """Whether sending it does something at once, whatever its fields are."""
        return all(one.kind == "hidden" for one in self.fields)


async def all_forms(admin: Visitor, world: World) -> list[Found]:
    """Return the forms on all pages: those that do something at once are the last."""
    found = [
        Found(path, address, form)
        for path, address in world.pages(forms=True)
        for form in own_forms(read_page((await admin.get(address)).text))
    ]
    (replay,) = [one for one in found if one.path.endswith("/replay")]
    answer = await admin.post(replay.address, {"since": SINCE})
    found += [Found(replay.path, replay.address, one) for one in own_forms(read_page(answer.text))]
    return sorted(found, key=lambda one: one.is_confirmation)


def own_forms(page: PageOfHtml) -> list[PageForm]:
    return [one for one in page.forms if not one.action.endswith("/sign-out")]


async def send(visitor: Visitor, one: Found, data: dict[str, object]) -> httpx.Response:
    return await visitor.http.post(one.form.action, data=data, headers=SAME)


def wrong_values(one: Found) -> Iterator[tuple[str, str]]:
    for field in one.fields:
        for value in HOSTILE:
            yield field.name, value


def problems(one: Found, name: str, value: str, answer: httpx.Response) -> Iterator[str]:
    """Yield what is wrong with the answer to a wrong value."""
    about = f"{one.address} {name}={value[:20]!r}: {answer.status_code}"
    if answer.status_code >= 500:
        yield f"{about} is a fault"
    if not answer.headers.get("content-type", "").startswith("text/html"):
        return
    page = read_page(answer.text)
    yield from (f"{about} is unsafe: {text}" for text in page.unsafe)
    kinds = {field.name: field.kind for field in one.fields}
    broken = [link for link in page.links if link.startswith("#") and link[1:] not in page.ids]
    broken = broken if kinds.get(name, "hidden") != "hidden" else []
    yield from (f"{about} links to {link}, which does not exist" for link in broken)
    if answer.status_code < 400:
        return
    shown = [form for form in own_forms(page) if {name} <= {field.name for field in form.fields}]
    if not any(text.strip() for text in page.alerts) and "Back to the overview" not in page.text:
        yield f"{about} says nothing"
    if answer.status_code == 422 and shown and value == LARGE:
        field = next(field for field in shown[0].fields if field.name == name)
        if field.kind in TYPED and field.values != [LARGE]:
            yield f"{about} loses what was typed"
        if field.kind in TYPED and not any(other.is_wrong for other in shown[0].fields):
            yield f"{about} marks no field: {page.alerts}"


async def test_every_page_with_a_form_shows_one(admin: Visitor, world: World) -> None:
    found = {one.path for one in await all_forms(admin, world)}
    assert found == {page.path for page in PAGES if page.has_form}


async def test_every_form_is_forbidden_to_a_viewer(
    admin: Visitor, viewer: Visitor, world: World, pool: Pool
) -> None:
    token, before = await viewer.csrf(), await changes(pool)
    wrong = []
    for one in await all_forms(admin, world):
        answer = await send(viewer, one, {**one.data(), CSRF: token})
        if answer.status_code != FOR_EVERYONE.get(one.path, 403):
            wrong.append((one.address, answer.status_code))
    assert wrong == []
    assert await changes(pool) == before


async def test_every_form_needs_the_token_of_its_session(
    admin: Visitor, viewer: Visitor, world: World, pool: Pool
) -> None:
    before, other = await changes(pool), await viewer.csrf()
    for one in await all_forms(admin, world):
        for token in ({}, {CSRF: other}):
            answer = await send(admin, one, {**one.data(), **token})
            assert answer.status_code == 403, one.address
            assert "Nothing was changed" in answer.text
    assert await changes(pool) == before


async def test_every_form_survives_the_end_of_its_session(
    admin: Visitor, stranger: Visitor, world: World, pool: Pool
) -> None:
    before = await changes(pool)
    for one in await all_forms(admin, world):
        ended = read_page((await send(stranger, one, {**one.data(), CSRF: "x"})).text)
        assert "Your session has ended" in ended.alerts[0], one.address
        (sign_in,) = own_forms(ended)
        kept = dict(json.loads(str(sign_in.data().get("kept", "[]"))))
        typed = {name for name, value in one.data().items() if value != [] and name != "key"}
        assert typed <= kept.keys(), one.address
        again = await admin.http.post(sign_in.action, data={**sign_in.data(), "key": admin.key}, headers=SAME)
        (back,) = own_forms(read_page(again.text))
        restored = await admin.http.post(back.action, data=back.data(), headers=SAME)
        assert "Nothing was sent yet" in restored.text or one.is_confirmation, one.address
    assert await changes(pool) == before


async def test_stale_forms_change_nothing(admin: Visitor, world: World, pool: Pool) -> None:
    stale = [one for one in await all_forms(admin, world) if "etag" in one.data()]
    assert len(stale) >= 4
    before = await changes(pool)
    for one in stale:
        answer = await send(admin, one, {**one.data(), "etag": "stale", CSRF: await admin.csrf()})
        assert answer.status_code in (409, 422), one.address
        assert "changed since" in answer.text
    assert await changes(pool) == before


async def test_wrong_values_of_every_form_get_a_message(admin: Visitor, world: World) -> None:
    """Nothing is a fault, all is escaped, and what was typed is still there, marked."""
    token = await admin.csrf()
    wrong: list[str] = []
    for one in await all_forms(admin, world):
        for name, value in [*wrong_values(one), ("nothing", "")]:
            data = one.data() if name != "nothing" else {}
            answer = await send(admin, one, {**data, name: value, CSRF: token})
            wrong += problems(one, name, value, answer)
    assert wrong == [], "\n".join(wrong)
