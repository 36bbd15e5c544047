"""`clarion campaigns preview` of a campaign file, which needs no database and sends nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from server.cli import cli
from server.dispatcher.providers import build
from server.errors import ConfigError
from server.wiring.campaign_file import read, to_campaigns

HOW_TO = Path(__file__).parents[2] / "docs/how-to/write-templates.md"

FILE = """
project: shop
campaigns:
  - id: 1
    name: Order
    channel: email
    sender: Shop <shop@example.com>
    unsubscribe_url: "https://shop.example/u/{{ user.external_id | url_encode }}"
    templates:
      default:
        subject: "Order {{ event.id | decimal }}"
        text: "{{ user.data.name | default: 'Hello' }}, {{ event.at | datetime: 'short' }}"
        html: "<p>{{ event.note }}</p>"
      de: {subject: "Bestellung {{ event.id | decimal }}", text: "Hallo"}
  - {id: 2, name: Code, channel: text, templates: {default: {text: "Your code is {{ event.code }}"}}}
  - {id: 3, name: News, channel: push, templates: {default: {title: "T {{ user.device_token }}", text: x}}}
  - {id: 4, name: Bad, channel: text, templates: {default: {text: "a\\n{{ x | nope }}"}}}
  - {id: 5, name: Strict, channel: text, undefined: strict, templates: {default: {text: "{{ event.code }}"}}}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "campaigns.yaml"
    path.write_text(FILE, encoding="utf-8")
    return path


def preview(file: Path, *words: str) -> str:
    result = CliRunner().invoke(
        cli, ["campaigns", "preview", "--file", str(file), *words], catch_exceptions=False
    )
    assert result.exit_code == 0, result.output
    return result.output


def test_a_preview_shows_every_part(file: Path) -> None:
    event = '{"id": 1234567890123456789, "at": "2026-07-15T12:00:00Z", "note": "<b>"}'
    shown = preview(file, "1", "--timezone", "Asia/Tokyo", "--event", event)
    *lines, _, cost = shown.splitlines()
    assert cost.startswith("cost: ")
    assert lines == [
        "campaign: 1",
        "name: Order",
        "channel: email",
        "template: default",
        "from: Shop <shop@example.com>",
        "to: test@test.com",
        "subject: Order 1,234,567,890,123,456,789",
        "unsubscribe_url: https://shop.example/u/EXTERNAL_ID",
        "",
        "--- text ---",
        "Hello, 7/15/26, 9:00\u202fPM",
        "",
        "--- html ---",
        "<p>&lt;b&gt;</p>",
    ]


def test_the_locale_selects_template_and_formats(file: Path) -> None:
    shown = preview(file, "1", "--locale", "de_DE", "--event", '{"id": 1234}', "--part", "subject")
    assert shown == "Bestellung 1.234\n"


def test_the_user_can_be_set(file: Path) -> None:
    user = '{"external_id": "u 7", "email": "zoe@example.org", "locale": "de", "data": {"name": "Zoë"}}'
    shown = json.loads(preview(file, "1", "--user", user, "--locale", "en", "--json"))
    assert (shown["to"], shown["template"]) == ("zoe@example.org", "default")
    assert shown["parts"]["text"] == "Zoë, "
    assert shown["parts"]["unsubscribe_url"] == "https://shop.example/u/u+7"


def test_event_from_a_file_and_a_single_part(file: Path) -> None:
    event = file.with_name("event.json")
    event.write_text('{"note": "from a file"}', encoding="utf-8")
    assert preview(file, "1", "--event", f"@{event}", "--part", "html") == "<p>from a file</p>\n"


def test_a_preview_shows_what_rendering_cost(tmp_path: Path) -> None:
    file = tmp_path / "campaigns.yaml"
    source = "{% for one in event.items %}{{ one }}é{% endfor %}"
    file.write_text(
        "project: demo\ncampaigns:\n- id: 1\n  name: Loop\n  channel: text\n  providers: [sandbox]\n"
        f'  templates:\n    default:\n      text: "{source}"\n',
        encoding="utf-8",
    )
    words = ["--event", f'{{"items": {list(range(10))}}}']
    cost = json.loads(preview(file, "1", *words, "--json"))["cost"]
    assert cost.pop("cpu_ms") < 250
    assert cost == {"loop_iterations": 10, "output_bytes": 30}
    shown = preview(file, "1", *words).splitlines()[-1]
    assert shown.endswith(
        "ms of CPU (at most 250), 10 loop iterations (at most 10,000) and 30 bytes (at most 1,048,576) in "
        "the largest part"
    )


def test_a_text_message_shows_its_segments(file: Path) -> None:
    shown = json.loads(preview(file, "2", "--event", '{"code": "Ω€"}', "--json"))
    assert shown["to"] == "+12345678900"
    assert shown["segments"] == {"encoding": "GSM-7", "units": 16, "count": 1}
    assert "segments: 1 (UCS-2, 14 units)" in preview(file, "2", "--event", '{"code": "ž"}')


def test_a_push_shows_its_title(file: Path) -> None:
    assert json.loads(preview(file, "3", "--json"))["parts"] == {"title": "T DEVICE_TOKEN", "text": "x"}


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (["4"], "campaign 4: default text, line 2, column 8: unknown filter 'nope'"),
        (["5"], "campaign 5: default text, line 1, column 4: event.code is undefined"),
        (["9"], "no campaign 9"),
        (["1", "--project", "other"], "no campaign 1"),
        (["2", "--part", "html", "--event", '{"code": 1}'], "campaign 2 has no html, only text"),
        (["1", "--user", "{"], "--user: is not valid JSON"),
        (["1", "--user", '{"mail": "a"}'], "--user: unknown mail; allowed are external_id, email"),
        (["1", "--user", '{"email": 1}'], "--user: email: must be a string"),
        (["1", "--event", "[]"], "--event: must be a JSON object"),
        (["1", "--event", "@none.json"], "--event: cannot read none.json: No such file"),
        (["1", "--timezone", "Europe/Berln"], "did you mean Europe/Berlin?"),
        (["1", "--locale", "?"], "'?' is not a BCP 47 language tag"),
    ],
)
def test_a_fault_is_reported_with_its_position(file: Path, words: list[str], fault: str) -> None:
    with pytest.raises(ConfigError) as caught:
        preview(file, *words)
    assert fault in str(caught.value)


def test_the_example_of_the_how_to_works(tmp_path: Path) -> None:
    file = tmp_path / "campaigns.yaml"
    file.write_text(HOW_TO.read_text(encoding="utf-8").partition("```yaml\n")[2].partition("```")[0], "utf-8")
    to_campaigns(read(file), 1, {"sandbox": build("sandbox", {"type": "sandbox"}, data_dir=tmp_path)})
    event = (
        '{"order_id": 9007199254740993123, "total": 1234.5, "ordered_at": "2026-07-15T12:00:00Z",'
        ' "items": [{"count": 2000, "name": "Tea & <b>"}]}'
    )
    shown = json.loads(preview(file, "7", "--timezone", "Europe/Vienna", "--event", event, "--json"))["parts"]
    assert shown["subject"] == "Order 9007199254740993123 is on its way"
    assert shown["text"].splitlines()[2:] == [
        "your order of July 15, 2026 comes to €1,234.50:",
        "",
        "- 2,000 x Tea & <b>",
    ]
    assert "<td>2,000</td><td>Tea &amp; &lt;b&gt;</td>" in shown["html"]
    german = preview(file, "7", "--locale", "de-DE", "--event", event, "--part", "text")
    assert german.strip() == "Sie kommt auf 1.234,50\u00a0€."
