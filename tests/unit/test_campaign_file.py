"""Campaign files: what is in them, or every problem at once."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from server.dispatcher.providers import build
from server.dispatcher.providers.base import Provider
from server.domain.campaign import CampaignState, Channel, RetryPolicy, SendWindow, Undefined
from server.errors import ConfigError
from server.up import demo
from server.wiring.campaign_file import read, to_campaigns

DEMO = Path(demo.__file__).parent / "campaigns.yaml"

TOML = """
project = "shop"
[[campaigns]]
id = 7
name = "Code"
channel = "text"
provider = "sandbox"
sender = "+12025550100"
state = "paused"
retry = {max_attempts = 3}
[campaigns.templates.default]
text = "{{ event.code }}"
[campaigns.templates.pt_BR]
text = "{{ event.code }}!"
"""


def test_duplicate_names_are_rejected(tmp_path: Path) -> None:
    path = tmp_path / "campaigns.yaml"
    path.write_text(DEMO.read_text().replace("      es:\n", "      default:\n", 1))
    with pytest.raises(ConfigError, match=r'"default" is given twice .*line \d+'):
        read(path)


@pytest.fixture
def providers(tmp_path: Path) -> dict[str, Provider]:
    smtp = {"type": "smtp", "host": "localhost"}
    return {
        "sandbox": build("sandbox", {"type": "sandbox"}, data_dir=tmp_path),
        "smtp": build("smtp", smtp, data_dir=tmp_path),
    }


def write(folder: Path, text: str, name: str = "campaigns.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_the_demo_is_right(providers: dict[str, Provider]) -> None:
    file = read(DEMO)
    found = to_campaigns(file, 5, providers)
    assert file.project == "demo"
    assert [(one.id, one.channel) for one in found] == [
        (44, Channel.EMAIL),
        (45, Channel.TEXT),
        (46, Channel.PUSH),
    ]
    assert all(one.project_id == 5 and "default" in one.templates for one in found)
    assert found[0].retry == RetryPolicy()


def test_toml_does_as_well(tmp_path: Path, providers: dict[str, Provider]) -> None:
    [one] = to_campaigns(read(write(tmp_path, TOML, "campaigns.toml")), 1, providers)
    assert (one.id, one.state, one.retry) == (7, CampaignState.PAUSED, RetryPolicy(max_attempts=3))
    assert one.providers == ("sandbox",)
    assert set(one.templates) == {"default", "pt-br"}


DELIVERY = """
project: shop
campaigns:
  - id: 9
    name: Offers
    channel: email
    providers: [smtp, sandbox]
    sender: shop@example.com
    retry: {max_attempts: 5, ttl: 900}
    send_window: {opens: "22:00", closes: "06:30"}
    unsubscribe_url: "https://example.com/u/{{ user.external_id }}"
    undefined: strict
    templates: {default: {subject: s, text: t}}
"""


def test_what_delivery_needs_is_read(tmp_path: Path, providers: dict[str, Provider]) -> None:
    [one] = to_campaigns(read(write(tmp_path, DELIVERY)), 1, providers)
    assert (one.providers, one.lane) == (("smtp", "sandbox"), "email/smtp,sandbox")
    assert one.retry == RetryPolicy(max_attempts=5, ttl=900)
    assert one.window == SendWindow("22:00", "06:30")
    assert one.unsubscribe_url == "https://example.com/u/{{ user.external_id }}"
    assert one.undefined is Undefined.STRICT


def test_missing_delivery_settings_are_left_to_the_provider(
    tmp_path: Path, providers: dict[str, Provider]
) -> None:
    lines = [line for line in DELIVERY.splitlines() if not re.search("retry|window|unsub|undefined", line)]
    [one] = to_campaigns(read(write(tmp_path, "\n".join(lines))), 1, providers)
    assert (one.retry, one.window, one.unsubscribe_url) == (None, None, "")
    assert one.undefined is Undefined.EMPTY


@pytest.mark.parametrize(
    ("line", "instead", "problem"),
    [
        (
            "providers: [smtp, sandbox]",
            "providers: []",
            "provider is missing; set it to a configured provider",
        ),
        ("providers: [smtp, sandbox]", "", "provider is missing; set it to a configured provider"),
        ("providers: [smtp, sandbox]", "providers: [smtp, smtp]", "providers names a provider twice"),
        (
            "providers: [smtp, sandbox]",
            "providers: [smtp, unknown]",
            "provider 'unknown' is not configured; configured are: sandbox, smtp",
        ),
        (
            "providers: [smtp, sandbox]",
            "{providers: [smtp], provider: sandbox}",
            "set either provider or providers, not both",
        ),
        ("channel: email", "channel: text", "provider 'smtp' does not send text"),
        (
            "subject: s, text: t",
            "subject: s",
            "default text: every message would be empty; set text or html",
        ),
        ("subject: s, text: t", 'text: " "', "default text: every message would be empty"),
        ("sender: ", "sender: a@b.example, ", r'sender: "a@b.example, .*" names several addresses'),
        ('closes: "06:30"', 'closes: "22:00"', "send_window: opens and closes are equal"),
        ("user.external_id }}", "user.external_id", "unsubscribe_url"),
    ],
)
def test_a_problem_of_delivery_is_named_with_its_campaign(
    tmp_path: Path, providers: dict[str, Provider], line: str, instead: str, problem: str
) -> None:
    instead = instead.strip("{}").replace(", provider:", "\n    provider:")
    path = write(tmp_path, DELIVERY.replace(line, instead))
    with pytest.raises(ConfigError, match=f"(?m)^campaign 9: {problem}"):
        to_campaigns(read(path), 1, providers)


@pytest.mark.parametrize(
    ("text", "instead", "place"),
    [
        ('"22:00"', '"24:00"', r"send_window\.opens"),
        ('"22:00"', '"8:00"', r"send_window\.opens"),
        ('"22:00"', '"22:00:30"', r"send_window\.opens"),
        ('"22:00"', '"22:00\\n"', r"send_window\.opens"),
        ('"22:00"', "22:00", r"send_window\.opens"),  # YAML reads a number in base 60
        ("opens: ", "open: ", "unknown field `open`"),
        (', closes: "06:30"', "", "missing required field `closes`"),
        ("ttl: 900", "ttl: -1", r"retry\.ttl"),
        ("ttl: 900", "ttl: 1e12", r"retry\.ttl"),
        ("undefined: strict", "undefined: maybe", r"undefined"),
        ("[smtp, sandbox]", '[smtp, ""]', r"providers\[1\]"),
        ("[smtp, sandbox]", "smtp", r"providers"),
    ],
)
def test_invalid_delivery_value_is_named_with_its_position(
    tmp_path: Path, text: str, instead: str, place: str
) -> None:
    with pytest.raises(ConfigError, match=place):
        read(write(tmp_path, DELIVERY.replace(text, instead)))


def test_every_problem_is_named_at_once(tmp_path: Path, providers: dict[str, Provider]) -> None:
    path = write(
        tmp_path,
        """
        project: shop
        campaigns:
          - {id: 1, name: a, channel: email, provider: unknown, templates: {default: {subject: s, text: t}}}
          - {id: 2, name: b, channel: push, provider: smtp, templates: {default: {title: t, text: x}}}
          - {id: 3, name: c, channel: text, provider: sandbox, templates: {}}
          - {id: 3, name: d, channel: text, provider: sandbox, templates: {default: {text: "{% if %}"}}}
        """,
    )
    with pytest.raises(ConfigError) as raised:
        to_campaigns(read(path), 1, providers)
    text = str(raised.value)
    for problem in (
        "campaign 1: provider 'unknown' is not configured; configured are: sandbox, smtp",
        "campaign 1: sender is missing",
        "campaign 2: provider 'smtp' does not send push",
        "campaign 3: templates is empty",
        "campaign 3: is defined twice in the file",
    ):
        assert problem in text.splitlines() or any(line.startswith(problem) for line in text.splitlines())
    assert any("default" in line and line.startswith("campaign 3: ") for line in text.splitlines())


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("project: p\ncampaigns: 1\n", r"campaigns\.yaml: Expected `array`.*\$\.campaigns"),
        ("project: ''\ncampaigns: []\n", r"\$\.project"),
        ("project: p\ncampaigns: []\nmore: 1\n", "unknown field `more`"),
        ("project: p\ncampaigns: [{id: 0}]\n", r"campaigns\[0\]\.id"),
        ("project: p\ncampaigns: [{id: 1, chanel: email}]\n", r"unknown field `chanel`.*\$\.campaigns\[0\]"),
        ("project: [\n", r"campaigns\.yaml: "),
        ("", r"campaigns\.yaml: "),
    ],
)
def test_file_of_another_shape_is_one_clear_line(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem) as raised:
        read(write(tmp_path, text))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("mistyped", ["retry: {max_attempt: 3}", "templates: {default: {text: t, htm: x}}"])
def test_a_mistyped_name_below_a_campaign_is_an_error(tmp_path: Path, mistyped: str) -> None:
    rest = "" if mistyped.startswith("templates") else "templates: {default: {text: t}}, "
    entry = f"{{id: 1, name: a, channel: text, provider: sandbox, {rest}{mistyped}}}"
    with pytest.raises(ConfigError, match="unknown field"):
        read(write(tmp_path, f"project: p\ncampaigns: [{entry}]\n"))


def test_two_spellings_of_one_locale_are_a_problem(tmp_path: Path, providers: dict[str, Provider]) -> None:
    path = write(tmp_path, TOML.replace("templates.default", "templates.pt-br"), "campaigns.toml")
    with pytest.raises(
        ConfigError, match=r"^campaign 7: templates: 'pt-br' and 'pt_BR' are the same locale$"
    ):
        to_campaigns(read(path), 1, providers)


def test_other_kinds_of_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"must end in \.yaml, \.yml or \.toml"):
        read(write(tmp_path, "{}", "campaigns.json"))
    with pytest.raises(ConfigError, match="No such file"):
        read(tmp_path / "none.yml")


@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        ('text: "', 'text: "\\0', "campaigns[0].templates.default.text"),
        ("name: Hello", 'name: "a\\0b"', "campaigns[0].name"),
        ("default:", '"\\x00":', "campaigns[0].templates"),
    ],
)
def test_impossible_characters_are_named(tmp_path: Path, old: str, new: str, place: str) -> None:
    text = """project: demo
campaigns:
  - id: 1
    name: Hello
    channel: push
    provider: sandbox
    templates:
      default:
        text: "hi"
"""
    with pytest.raises(ConfigError) as caught:
        read(write(tmp_path, text.replace(old, new, 1)))
    assert f"{place}: the character U+0000 at position" in str(caught.value)
