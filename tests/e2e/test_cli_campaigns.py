"""The command line's campaign files."""

from __future__ import annotations

import json

import pytest

from tests.kit.commands import clarion
from tests.kit.stack import Stack


async def test_campaign_files_create_and_change_campaigns(demo: Stack) -> None:
    yaml, toml = demo.folder / "shop.yaml", demo.folder / "shop.toml"
    yaml.write_text(_YAML)
    toml.write_text(_TOML)

    results = [
        json.loads((await clarion(demo.folder, "campaigns", "apply", name, "--json")).out)
        for name in ("shop.yaml", "shop.yaml")
    ]
    other = await clarion(demo.folder, "campaigns", "apply", "shop.toml")
    differs = json.loads((await clarion(demo.folder, "campaigns", "diff", "shop.toml", "--json")).out)
    overwriting = ("campaigns", "apply", "shop.toml", "--overwrite", "--json")
    results.append(json.loads((await clarion(demo.folder, *overwriting)).out))
    plain = await clarion(demo.folder, "campaigns", "apply", "shop.toml")
    listed = json.loads((await clarion(demo.folder, "campaigns", "list", "--json")).out)
    shown = json.loads((await clarion(demo.folder, "campaigns", "show", "501", "--json")).out)

    assert results == [
        {"501": "created", "502": "created"},
        {"501": "unchanged", "502": "unchanged"},
        {"501": "changed"},
    ]
    assert plain.out.split() == ["CAMPAIGN", "RESULT", "501", "unchanged"]
    assert other.code == 1
    assert "Campaign 501 is managed by the file shop.yaml. See what differs" in other.err
    assert differs == {"501": ["display_name", "default.text"]}
    assert {one["campaign_id"] for one in listed} >= {44, 45, 46, 501, 502}
    assert (shown["content"]["display_name"], shown["managed_by"]) == ("Shop, by TOML", "shop.toml")
    assert shown["content"]["templates"][0]["text"] == "Hello from TOML"


async def test_campaign_is_paused_and_rolled_back(demo: Stack) -> None:
    (demo.folder / "states.yaml").write_text(_YAML.replace("501", "511").replace("502", "512"))
    await clarion(demo.folder, "campaigns", "apply", "states.yaml")
    paused = await clarion(demo.folder, "campaigns", "pause", "511")
    assert paused.out == "campaign 511 is paused, version 2\n", paused.err
    read_only = await clarion(demo.folder, "campaigns", "rollback", "511", "1")
    assert "The file states.yaml manages campaign 511" in read_only.err
    await clarion(demo.folder, "campaigns", "release", "511")
    rolled = await clarion(demo.folder, "campaigns", "rollback", "511", "1", "--json")
    assert json.loads(rolled.out)["campaign_state"] == "paused", rolled.err
    shown = json.loads((await clarion(demo.folder, "campaigns", "versions", "511", "--json")).out)
    assert [one["version"] for one in shown] == list(range(len(shown), 0, -1))
    differs = await clarion(demo.folder, "campaigns", "compare", "511", "1", "2")
    assert differs.out == "campaign_state\n  - active\n  + paused\n", differs.err
    unknown = await clarion(demo.folder, "campaigns", "pause", "99999")
    assert "campaign 99999 is missing; `clarion campaigns list` shows what exists" in unknown.err


_YAML = """
project: shop
campaigns:
  - {id: 501, name: Shop, channel: text, provider: sandbox, sender: "+12025550100",
     templates: {default: {text: Hello}}}
  - {id: 502, name: Shop push, channel: push, provider: sandbox,
     templates: {default: {title: Hello, text: You}}}
"""


_TOML = """
project = "shop"
[[campaigns]]
id = 501
name = "Shop, by TOML"
channel = "text"
provider = "sandbox"
sender = "+12025550100"
templates.default.text = "Hello from TOML"
"""


_WRONG = """
project: wrong
campaigns:
  - {id: 601, name: No sender, channel: email, provider: sandbox, templates: {default: {subject: A, text: B}}}
  - {id: 602, name: No provider, channel: text, provider: pigeon, templates: {default: {text: Hi}}}
  - {id: 603, name: No channel, channel: push, provider: smtp, templates: {default: {title: A, text: B}}}
  - {id: 604, name: No template, channel: text, provider: sandbox, templates: {}}
  - {id: 605, name: Bad template, channel: text, provider: sandbox, templates: {default: {text: "{% if %}"}}}
  - {id: 606, name: Twice, channel: text, provider: sandbox, templates: {default: {text: Hi}}}
  - {id: 606, name: Twice, channel: text, provider: sandbox, templates: {default: {text: Hi}}}
"""


async def test_invalid_campaign_file_changes_nothing(demo: Stack) -> None:
    (demo.folder / "wrong.yaml").write_text(_WRONG)

    done = await clarion(demo.folder, "campaigns", "apply", "wrong.yaml")
    listed = await clarion(demo.folder, "campaigns", "list")
    assert "demo" in listed.out

    assert done.code == 2
    for number in range(601, 607):
        assert f"campaign {number}: " in done.err
    assert "Traceback" not in done.err
    assert "60" not in {line[:2] for line in listed.out.splitlines()}


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.yaml", "project: [", "a.yaml: "),
        ("b.yaml", "project: x\ncampaigns:\n- {id: 1, nmae: x}", "campaigns[0]"),
        ("c.toml", "project = ", "c.toml: "),
        ("d.txt", "", "the name of a campaign file must end in .yaml, .yml or .toml"),
        ("none.yaml", None, "cannot read the campaign file none.yaml: No such file or directory"),
    ],
)
async def test_unreadable_campaign_file_is_one_line(
    demo: Stack, name: str, content: str | None, expected: str
) -> None:
    if content is not None:
        (demo.folder / name).write_text(content)

    done = await clarion(demo.folder, "campaigns", "apply", name)

    assert done.code == 2
    assert expected in done.err
    assert done.err.count("\n") == 1
