"""`clarion campaigns preview` as a user runs it: with a database, and without one."""

from __future__ import annotations

import json
from pathlib import Path

from tests.kit.commands import clarion
from tests.kit.stack import Stack

FILE = """
project: {project}
campaigns:
  - {{id: 801, name: Preview, channel: text, provider: sandbox,
     templates: {{default: {{text: "{project}: {{{{ event.at | date: '%H:%M' }}}}"}}}}}}
  - {{id: 802, name: Strict, channel: text, provider: sandbox, undefined: strict,
     templates: {{default: {{text: "Code\\n{{{{ event.code }}}}"}}}}}}
"""
AT = '{"at": "2026-07-15T12:00:00Z"}'


async def test_preview_uses_the_time_zone_of_the_project(demo: Stack) -> None:
    for project in ("preview", "twin"):
        (demo.folder / "preview.yaml").write_text(FILE.format(project=project))
        assert (await clarion(demo.folder, "campaigns", "apply", "preview.yaml")).code == 0
    await clarion(demo.folder, "projects", "timezone", "twin", "Asia/Tokyo")

    words = ("campaigns", "preview", "801", "--event", AT)
    both = await clarion(demo.folder, *words)
    one = await clarion(demo.folder, *words, "--project", "preview", "--part", "text")
    twin = await clarion(demo.folder, *words, "--project", "twin", "--json")

    assert both.code == 2
    assert both.err.endswith("several projects have a campaign 801; add --project, one of preview, twin\n")
    assert (one.code, one.out) == (0, "preview: 12:00\n")
    assert json.loads(twin.out)["parts"] == {"text": "twin: 21:00"}


async def test_invalid_file_is_exit_code_2_without_a_database(tmp_path: Path) -> None:
    (tmp_path / "campaigns.yaml").write_text(FILE.format(project="x"))

    words = ("campaigns", "preview", "802", "--file", "campaigns.yaml")
    good = await clarion(tmp_path, *words, "--event", '{"code": 1}', "--part", "text")
    bad = await clarion(tmp_path, *words)

    assert (good.code, good.out) == (0, "Code\n1\n")
    assert (bad.code, bad.out) == (2, "")
    assert bad.err == "clarion: campaign 802: default text, line 2, column 4: event.code is undefined\n"
