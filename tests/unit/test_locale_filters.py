"""Filters for dates and numbers in the user's locale: `datetime`, `decimal`, `percent`, `currency`."""

from __future__ import annotations

import msgspec
import pytest

from server.channels.sms_segments import segments
from server.channels.text import Text
from server.domain.campaign import Channel, Template
from server.domain.delivery_errors import RenderError
from server.templates.render import Renderer
from tests.kit.dispatch import make_campaign, make_trigger
from tests.kit.rendering import render, text_of

NBSP, NARROW, RLM, QUOTE = "\u00a0", "\u202f", "\u200f", "\u2019"


def shown(expression: str, value: object, *, locale: str = "", timezone: str = "") -> str:
    source, event = "{{ event.v | " + expression + " }}", msgspec.json.encode({"v": value}).decode()
    return text_of(source, event=event, locale=locale, timezone=timezone)


@pytest.mark.parametrize(
    ("locale", "decimal", "currency", "percent"),
    [
        ("en", "1,234.5", "€1,234.50", "25%"),
        ("en_US", "1,234.5", "€1,234.50", "25%"),
        ("de", "1.234,5", f"1.234,50{NBSP}€", f"25{NBSP}%"),
        ("de-CH", f"1{QUOTE}234.5", f"EUR{NBSP}1{QUOTE}234.50", "25%"),
        ("pt-BR", "1.234,5", f"€{NBSP}1.234,50", "25%"),
        ("pt_br", "1.234,5", f"€{NBSP}1.234,50", "25%"),
        ("fr-u-nu-latn", f"1{NARROW}234,5", f"1{NARROW}234,50{NBSP}€", f"25{NARROW}%"),
        ("ar", "1,234.5", f"{RLM}1,234.50{NBSP}€", "25%"),
        ("xx", "1,234.5", "€1,234.50", "25%"),
        ("", "1,234.5", "€1,234.50", "25%"),
    ],
)
def test_numbers_follow_the_locale(locale: str, decimal: str, currency: str, percent: str) -> None:
    assert shown("decimal", 1234.5, locale=locale) == decimal
    assert shown("currency: 'EUR'", 1234.5, locale=locale) == currency
    found = shown("percent", 0.25, locale=locale)
    assert found.replace(NBSP, NARROW) == percent.replace(NBSP, NARROW)


@pytest.mark.parametrize(
    ("number", "grouped"),
    [
        (1234567890123456789, "1,234,567,890,123,456,789"),
        (9223372036854775807, "9,223,372,036,854,775,807"),
        (-9007199254740993, "-9,007,199,254,740,993"),
        ("1234567890123456789", "1,234,567,890,123,456,789"),
    ],
)
def test_integers_of_nineteen_digits_stay_exact(number: object, grouped: str) -> None:
    assert shown("decimal", number) == grouped
    assert shown("decimal: 2", number) == f"{grouped}.00"
    assert shown("currency: 'JPY'", number) == f"¥{grouped}".replace("¥-", "-¥")
    assert shown("percent", number).replace(",", "") == f"{number}00%"


def test_longer_integers_stay_exact() -> None:
    assert (
        text_of("{{ event.v | decimal }}", event='{"v": 123456789012345678901234567890123}')
        == "123,456,789,012,345,678,901,234,567,890,123"
    )


@pytest.mark.parametrize(
    ("expression", "value", "expected"),
    [
        ("decimal", 19.99, "19.99"),
        ("decimal", "0.10", "0.1"),
        ("decimal: 2", 3, "3.00"),
        ("decimal: 2", 2.665, "2.67"),
        ("decimal: 0", 2.5, "3"),
        ("decimal: group_separator: false", 1234.5, "1234.5"),
        ("decimal: locale: 'de'", 1234.5, "1.234,5"),
        ("percent: 1", 0.1234, "12.3%"),
        ("currency: 'usd'", "5", "$5.00"),
        ("currency: 'EUR', locale: 'de'", 5, f"5,00{NBSP}€"),
        ("plus: 0.2 | decimal", 0.1, "0.3"),
    ],
)
def test_numbers_are_rounded_only_on_request(expression: str, value: object, expected: str) -> None:
    assert shown(expression, value) == expected


@pytest.mark.parametrize(
    ("locale", "code", "value", "expected"),
    [
        ("en", "CHF", 1234.5, f"CHF{NBSP}1,234.50"),
        ("en", "CHF", -1234.5, f"-CHF{NBSP}1,234.50"),
        ("en", "XYZ", 1, f"XYZ{NBSP}1.00"),
        ("en", "USD", 1, "$1.00"),
        ("en", "CAD", 1, "CA$1.00"),
        ("en-GB", "PLN", 1, f"PLN{NBSP}1.00"),
        ("de", "CHF", 1, f"1,00{NBSP}CHF"),
        ("de-CH", "CHF", -5, "CHF-5.00"),
        ("ja", "PLN", 1, f"PLN{NBSP}1.00"),
        ("ja", "JPY", 1, "￥1"),
        ("en-IN", "CHF", 1234567, f"CHF{NBSP}12,34,567.00"),
    ],
)
def test_a_currency_code_is_separated_from_digits(
    locale: str, code: str, value: float, expected: str
) -> None:
    assert shown(f"currency: '{code}'", value, locale=locale) == expected


@pytest.mark.parametrize("value", ["abc", "1e5", "NaN", "", "9" * 101, None, True])
def test_values_other_than_numbers_are_unchanged(value: object) -> None:
    plain = text_of("{{ event.v }}.", event=msgspec.json.encode({"v": value}).decode())
    for name in ("decimal", "percent", "currency: 'EUR'"):
        source = "{{ event.v | " + name + " }}."
        assert text_of(source, event=msgspec.json.encode({"v": value}).decode()) == plain


@pytest.mark.parametrize(
    ("locale", "medium", "full_date"),
    [
        ("en", f"Mar 29, 2026, 3:30:00{NARROW}AM", "Sunday, March 29, 2026"),
        ("de", "29.03.2026, 03:30:00", "Sonntag, 29. März 2026"),
        ("pt-BR", "29 de mar. de 2026 03:30:00", "domingo, 29 de março de 2026"),
        ("ar", f"29{RLM}/03{RLM}/2026، 3:30:00{NBSP}ص", "الأحد، 29 مارس 2026"),
        ("zh-TW", "2026年3月29日 凌晨3:30:00", "2026年3月29日 星期日"),
    ],
)
def test_times_follow_the_locale(locale: str, medium: str, full_date: str) -> None:
    at = "2026-03-29T01:30:00Z"
    found = shown("datetime", at, locale=locale, timezone="Europe/Berlin")
    assert found.replace(NARROW, " ").replace(NBSP, " ") == medium.replace(NARROW, " ").replace(NBSP, " ")
    assert shown("datetime: date: 'full'", at, locale=locale, timezone="Europe/Berlin") == full_date


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ("2026-03-29T00:59:00Z", "01:59"),
        ("2026-03-29T01:00:00Z", "03:00"),
        ("2026-10-25T00:30:00Z", "02:30"),
        ("2026-10-25T01:30:00Z", "02:30"),
    ],
)
def test_times_around_a_daylight_saving_change(at: str, expected: str) -> None:
    assert shown("datetime: time: 'short'", at, timezone="Europe/Berlin", locale="de") == expected


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("datetime: 'short'", "29.03.26, 03:30"),
        ("datetime: format: 'short'", "29.03.26, 03:30"),
        ("datetime: date: 'long', time: 'short'", "29. März 2026, 03:30"),
        ("datetime: 'EEEE, HH.mm'", "Sonntag, 03.30"),
        ("datetime: date: 'short', locale: 'fr'", "29/03/2026"),
        ("datetime: event.unknown", "29.03.2026, 03:30:00"),
    ],
)
def test_styles_patterns_and_locale_can_be_chosen(expression: str, expected: str) -> None:
    assert shown(expression, "2026-03-29T01:30:00Z", locale="de", timezone="Europe/Berlin") == expected


@pytest.mark.parametrize("missing", ["event.null_one", "event.unknown", "nil"])
def test_a_missing_argument_means_the_default(missing: str) -> None:
    event = '{"v": 1234.5, "t": "2026-07-15", "null_one": null}'
    for filtered, plain in (
        ("event.v | decimal: " + missing, "event.v | decimal"),
        ("event.v | decimal: locale: " + missing, "event.v | decimal"),
        ("event.v | percent: " + missing, "event.v | percent"),
        ("event.v | currency: 'EUR', locale: " + missing, "event.v | currency: 'EUR'"),
        ("event.t | datetime: " + missing, "event.t | datetime"),
        ("event.t | datetime: date: 'full', time: " + missing, "event.t | datetime: date: 'full'"),
        ("event.t | datetime: locale: " + missing, "event.t | datetime"),
        ("event | json: " + missing, "event | json"),
    ):
        found = text_of("{{ " + filtered + " }}", event=event, locale="de")
        assert found == text_of("{{ " + plain + " }}", event=event, locale="de")


def test_a_date_without_time_is_the_same_in_every_zone() -> None:
    for zone in ("Pacific/Kiritimati", "America/Los_Angeles"):
        assert shown("datetime: 'long'", "2026-07-15", timezone=zone) == "July 15, 2026"
    assert shown("datetime", "next week") == "next week"
    assert text_of("{{ event.v | datetime }}.") == "."


@pytest.mark.parametrize(
    ("expression", "fault"),
    [
        ("decimal: 21", "digits must be an integer from 0 to 20"),
        ("decimal: 'two'", "digits must be an integer from 0 to 20"),
        ("currency", "the code must be an ISO 4217 code"),
        ("currency: 'Euro'", "the code must be an ISO 4217 code"),
        ("datetime: 'QQQQQQQ'", "a CLDR pattern"),
        (f"datetime: '{'y' * 101}'", "a CLDR pattern"),
        ("datetime: date: 'wide'", "short, medium, long or full"),
        ("decimal: place: 2", "unexpected keyword argument 'place'"),
    ],
)
def test_an_invalid_argument_is_reported_with_its_position(expression: str, fault: str) -> None:
    value = "2026-03-29T01:30:00Z" if expression.startswith("datetime") else 1
    with pytest.raises(RenderError, match=rf"^default text, line 1, column 1\d: .*{fault}"):
        shown(expression, value)


def test_users_without_a_zone_get_the_fallback_zone() -> None:
    campaign = make_campaign(templates={"default": Template(text="{{ event.at | date: '%H:%M' }}")})
    event = '{"at": "2026-07-15T12:00:00Z"}'
    for zone, expected in (("", "21:00"), ("Not/AZone", "21:00"), ("Europe/Berlin", "14:00")):
        trigger = make_trigger(event=event, timezone=zone)
        assert Renderer().render(campaign, trigger, timezone_fallback="Asia/Tokyo").text == expected  # type: ignore[attr-defined]


def test_filter_results_are_escaped_in_html() -> None:
    found = render(
        Template(html="{{ event.v | datetime: \"'<b>'y\" }}"), event='{"v": "2026-07-15T12:00:00Z"}'
    )
    assert found.html == "&lt;b&gt;2026"


def test_a_time_keeps_a_text_in_the_gsm_alphabet() -> None:
    source = Template(text="{{ event.at | datetime: 'short' }}, {{ 5 | currency: 'EUR', locale: 'de' }}")
    campaign = make_campaign(channel=Channel.TEXT, templates={"default": source})
    trigger = make_trigger("+15551234567", channel=Channel.TEXT, event='{"at": "2026-07-15T12:00:00Z"}')
    message = Renderer().render(campaign, trigger)
    assert isinstance(message, Text)
    assert message.body == "7/15/26, 12:00 PM, 5,00 €"
    assert segments(message.body).encoding == "GSM-7"
