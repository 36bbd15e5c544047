from __future__ import annotations

import datetime as dt
import uuid

import msgspec
import pytest

from server.channels.email_message import Email
from server.channels.push import Push
from server.channels.text import Text
from server.domain.campaign import Campaign, Channel, Template
from server.domain.delivery_errors import RenderError
from server.domain.trigger import Trigger
from server.intake.contract import USER_FIELDS_OF
from server.templates.render import Renderer, _namespace
from tests.kit.cases import each_case
from tests.kit.cpu import little_cpu
from tests.kit.dispatch import make_campaign, make_trigger
from tests.kit.rendering import render, template_faults, text_of


@pytest.mark.parametrize("channel", Channel)
def test_templates_see_every_field_of_the_user(channel: Channel) -> None:
    trigger = msgspec.structs.replace(make_trigger(), channel=channel)
    user = _namespace(make_campaign(channel=channel), trigger)["user"]
    assert isinstance(user, dict)
    assert user.keys() == USER_FIELDS_OF[channel].keys()


def test_templates_can_use_user_event_and_campaign() -> None:
    source = "{{ user.external_id }} {{ user.email }} {{ user.data.plan }} {{ event.id }} {{ campaign.name }}"
    rendered = text_of(source, event='{"id": 7}', user_data='{"plan": "gold"}')
    assert rendered == "user-1 zoe.sommer@example.org gold 7 Orders"


def test_missing_variables_are_empty() -> None:
    assert text_of("[{{ event.a.b.c }}{{ nothing }}{{ user.data.x }}]") == "[]"


@pytest.mark.parametrize(
    "number", ["1234567890123456789", "9223372036854775807", "123456789012345678901234567890"]
)
def test_long_integers_print_exactly(number: str) -> None:
    assert text_of("{{ event.order }}", event=f'{{"order": {number}}}') == number


def test_floats_print_without_trailing_digits() -> None:
    assert text_of("{{ event.a }} {{ event.b }}", event='{"a": 19.99, "b": 0.1}') == "19.99 0.1"


def test_html_is_escaped_and_text_is_not() -> None:
    message = render(Template(text="{{ event.x }}", html="<p>{{ event.x }}</p>"), event='{"x": "<b>&"}')
    assert message.text == "<b>&"
    assert message.html == "<p>&lt;b&gt;&amp;</p>"


def test_locale_falls_back_to_language_then_default() -> None:
    campaign = make_campaign(
        templates={
            "default": Template(text="hello"),
            "pt": Template(text="olá"),
            "de-at": Template(text="servus"),
        }
    )
    renderer = Renderer()
    chosen = {
        locale: renderer.render(campaign, make_trigger(locale=locale))
        for locale in ("pt-BR", "de-AT", "de_AT", "de-CH", "")
    }
    texts = {locale: message.text for locale, message in chosen.items() if isinstance(message, Email)}
    assert texts == {"pt-BR": "olá", "de-AT": "servus", "de_AT": "servus", "de-CH": "hello", "": "hello"}


@each_case(
    ("at", "timezone", "expected"),
    [
        ("2026-01-15T12:00:00Z", "Europe/Berlin", "2026-01-15 13:00"),
        ("2026-07-15T12:00:00Z", "Europe/Berlin", "2026-07-15 14:00"),
        ("2026-03-29T00:59:00Z", "Europe/Berlin", "2026-03-29 01:59"),
        ("2026-03-29T01:00:00Z", "Europe/Berlin", "2026-03-29 03:00"),
        ("2026-07-15T12:00:00+05:30", "America/New_York", "2026-07-15 02:30"),
        ("2026-07-15T12:00:00", "Asia/Tokyo", "2026-07-15 21:00"),
        ("2026-07-15", "America/New_York", "2026-07-15 00:00"),
        ("2026-07-15T12:00:00Z", "", "2026-07-15 12:00"),
        ("2026-07-15T12:00:00Z", "Not/AZone", "2026-07-15 12:00"),
        ("2026-07-15T12:00:00Z", "../../etc/passwd", "2026-07-15 12:00"),
        ("1784116800", "Europe/Berlin", "2026-07-15 14:00"),
        ("next week", "Europe/Berlin", "next week"),
    ],
)
def test_dates_are_shown_in_the_users_time_zone(at: str, timezone: str, expected: str) -> None:
    source = "{{ event.at | date: '%Y-%m-%d %H:%M' }}"
    assert text_of(source, event=f'{{"at": "{at}"}}', timezone=timezone) == expected


def test_unix_seconds_are_a_date() -> None:
    assert text_of("{{ event.at | date: '%H:%M %s' }}", event='{"at": 1784116800}') == "12:00 1784116800"


def test_now_is_in_the_users_time_zone() -> None:
    shown = text_of("{{ 'now' | date: '%Y-%m-%dT%H:%M:%S%z' }}", timezone="Asia/Tokyo")
    assert shown.endswith("+0900")
    assert abs(dt.datetime.now(dt.UTC) - dt.datetime.fromisoformat(shown)) < dt.timedelta(minutes=1)


@pytest.mark.parametrize(
    "source",
    [
        "{% for i in (1..1000000000) %}x{% endfor %}",
        "{% for i in (1..1000000000) reversed %}x{% endfor %}",
        "{% assign r = (1..1000000000) %}{% for i in r reversed %}x{% endfor %}",
        "{% tablerow i in (1..1000000000) %}x{% endtablerow %}",
        "{% for i in (1..200) %}{% for j in (1..200) %}x{% endfor %}{% endfor %}",
        "{% for i in (1..9000) %}x{% endfor %}{% for i in (1..9000) %}x{% endfor %}",
        "{{ (1..1000000000) | join }}",
        "{% assign s = 'x' %}{% for i in (1..999) %}{% assign s = s | append: s %}{% endfor %}",
        "{% assign s='x' %}{% for i in (1..19) %}{% assign s=s|append:s %}{% endfor %}{{s|replace:'x',s}}",
        "{% assign n = 10 %}{% for i in (1..99) %}{% assign n = n | times: n %}{% endfor %}",
        "{% for i in (1..9999) %}{{ event.long }}{% endfor %}",
    ],
)
def test_a_runaway_template_is_stopped_with_its_position(source: str) -> None:
    with little_cpu(), pytest.raises(RenderError, match=r"^default text, line 2, column \d+: "):
        text_of("\n" + source, event='{"long": "' + "y" * 1000 + '"}')


@pytest.mark.parametrize("levels", [33, 500, 5000, 100_000])
def test_deeply_nested_data_is_rejected(levels: int) -> None:
    with pytest.raises(RenderError, match="data is nested deeper than 32 levels, which is the limit"):
        text_of("x", event='{"a":' + "[" * (levels - 1) + "]" * (levels - 1) + "}")


def test_the_deepest_data_are_rendered() -> None:
    assert text_of("x", event='{"a":' + "[" * 31 + "]" * 31 + "}") == "x"


@pytest.mark.parametrize("source", ["{% include 'x' %}", "{% render 'x' %}"])
def test_templates_cannot_include_files(source: str) -> None:
    with pytest.raises(RenderError, match="unexpected tag"):
        text_of(source)


def test_an_error_does_not_quote_data() -> None:
    with pytest.raises(RenderError) as caught:
        text_of("{{ event.list | map: 'a' }}", event='{"list": ["secret"]}')
    assert "secret" not in str(caught.value)


def channel_message(channel: Channel, address: str, template: Template) -> Text | Push:
    campaign = Campaign(
        1, 5, "Codes", channel, ("p",), sender="+15550000000", templates={"default": template}
    )
    trigger = Trigger(uuid.uuid4(), 1, 5, channel, "user-1", address)
    message = Renderer().render(campaign, trigger)
    assert isinstance(message, Text | Push)
    return message


def test_text_messages_render_only_the_text() -> None:
    message = channel_message(
        Channel.TEXT, "+15551234567", Template(text=" Hi {{ user.phone }}\n", html="{{")
    )
    assert message == Text(message.trigger_id, "+15550000000", "+15551234567", "Hi +15551234567")


def test_push_messages_render_title_and_text() -> None:
    message = channel_message(Channel.PUSH, "tok", Template(title="A\nB", text="{{ user.device_token }}"))
    data = {"trigger_id": str(message.trigger_id), "campaign_id": "5"}
    assert message == Push(message.trigger_id, "tok", "A B", "tok", data)


def test_an_empty_message_is_an_error() -> None:
    with pytest.raises(RenderError, match="empty"):
        text_of("{% if event.never %}x{% endif %} ")


def test_the_cache_is_bounded_and_keyed_by_revision() -> None:
    renderer = Renderer(capacity=2)
    for revision in range(10):
        source = Template(text=f"revision {revision}")
        campaign = make_campaign(templates={"default": source}, revision=revision)
        message = renderer.render(campaign, make_trigger())
        assert isinstance(message, Email)
        assert message.text == f"revision {revision}"
    assert len(renderer._compiled) == 2


def test_the_check_reports_every_fault_with_its_position() -> None:
    campaign = make_campaign(
        templates={
            "default": Template(
                subject="{{ a b }}", text="{% if a == %}{% endif %}\n{% nope %}{{ x | foo }}"
            ),
            "de": Template(text="gut", html="{{ user"),
        }
    )
    faults = template_faults(campaign)
    assert [fault.partition(":")[0] for fault in faults] == [
        "default subject, line 1, column 6",
        "default text, line 1, column 4",
        "default text, line 2, column 4",
        "default text, line 2, column 18",
        "de html, line 1, column 1",
    ]


def test_the_check_accepts_valid_and_unused_parts() -> None:
    good = (
        "{% for i in event.items %}{{ i.name | upcase | date: '%d' }}{% else %}{{ event | json }}{% endfor %}"
    )
    assert (
        template_faults(make_campaign(templates={"default": Template(text=good, html=good, title="{{")}))
        == []
    )
