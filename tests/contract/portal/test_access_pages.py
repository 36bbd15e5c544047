"""The page Access: admin keys are created, and sessions ended, here and by the command line."""

from __future__ import annotations

import html
import re

from tests.contract.portal.conftest import Visitor
from tests.kit.html_pages import read_page
from tests.kit.stack import Stack, client
from tests.kit.until import until

KEY = {
    "display_name": "deploy <robot>",
    "grants[0].role": "operator",
    "grants[0].project": "demo",
    "expires_in_days": "30",
}


async def test_an_admin_key_is_created_and_shown_once(admin: Visitor, stack: Stack) -> None:
    made = await admin.post("/access/keys/new", KEY)
    secrets = re.findall(r"ak_[0-9a-f-]{36}", made.text)
    assert (made.status_code, len(set(secrets))) == (200, 1)
    assert "operator of demo" in made.text
    listed = (await admin.get("/access")).text
    assert html.escape(KEY["display_name"]) in listed
    assert secrets[0] not in listed
    async with client(stack) as http:
        robot = Visitor(http, secrets[0])
        assert (await robot.sign_in()).status_code == 303
        assert (await robot.post("/access/keys/new", KEY)).status_code == 403


async def test_wrong_fields_are_named(admin: Visitor) -> None:
    for change, field in (
        ({"display_name": ""}, "display_name"),
        ({"expires_in_days": "0"}, "expires_in_days"),
        ({"expires_in_days": "367"}, "expires_in_days"),
        ({"expires_in_days": "9" * 50}, "expires_in_days"),
        ({"expires_in_days": "\N{SUPERSCRIPT TWO}"}, "expires_in_days"),
        ({"grants[0].role": "owner"}, "grants[0].role"),
        ({"grants[0].project": "none"}, "grants[0].project"),
    ):
        answer = await admin.post("/access/keys/new", {**KEY, **change})
        assert answer.status_code == 422, change
        assert f'<a href="#field-{field}">' in answer.text, change
        assert "ak_" not in answer.text, change


async def test_nothing_is_granted_without_a_choice(admin: Visitor) -> None:
    for path in ("/access/keys/new", "/access/keys/new?project=demo"):
        (form,) = (one for one in read_page((await admin.get(path)).text).forms if "keys/new" in one.action)
        assert form.data()["grants[0].project"] == ""
    for missing in ({**KEY, "grants[0].project": ""}, {k: v for k, v in KEY.items() if "project" not in k}):
        refused = await admin.post("/access/keys/new", missing)
        assert (refused.status_code, "Choose a project, or all projects." in refused.text) == (422, True)
        assert "ak_" not in refused.text
    made = await admin.post("/access/keys/new", {**KEY, "grants[0].project": "*"})
    assert (made.status_code, "operator of all projects" in made.text) == (200, True)


async def test_the_command_line_lists_and_ends_sessions(admin: Visitor, stack: Stack) -> None:
    key = re.findall(r"ak_[0-9a-f-]{36}", (await admin.post("/access/keys/new", KEY)).text)[0]
    async with client(stack) as http:
        person = Visitor(http, key)
        await person.sign_in()
        found = await stack.json("operators", "sessions", "list", "--json")
        assert isinstance(found, list)
        (session,) = [one for one in found if one["display_name"] == KEY["display_name"]][:1]
        assert session["grants"] == [{"role": "operator", "project": "demo"}]
        code, out, err = await stack.run("operators", "sessions", "end", session["session_id"])
        assert (code, out) == (0, f"ended {session['session_id']}\n"), err

        async def is_over() -> bool:
            return (await person.get("/deliveries")).status_code == 303

        await until(is_over, "the session has ended")
    code, _, err = await stack.run("operators", "sessions", "end", session["session_id"])
    assert code != 0
    assert "session" in err


async def test_an_invalid_address_is_explained_once(admin: Visitor) -> None:
    answer = await admin.get("/deliveries/abc")
    assert answer.status_code == 422
    assert answer.text.count("must be a valid UUID") == 1
