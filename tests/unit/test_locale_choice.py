"""The template, and the format of dates and numbers, for users whose locale a campaign does not have."""

from __future__ import annotations

from babel.localedata import locale_identifiers
from hypothesis import given
from hypothesis import strategies as st

from server.domain.campaign import Template
from server.templates.locales import babel_locale, locale_chain
from server.templates.render import Renderer, chosen_locale
from tests.kit.cases import each_case
from tests.kit.dispatch import make_campaign, make_trigger


@each_case(
    ("locale", "chain"),
    [
        ("", ()),
        ("en", ("en",)),
        ("pt-BR", ("pt-br", "pt")),
        ("pt_BR", ("pt-br", "pt")),
        ("pt-AO", ("pt-ao", "pt-pt", "pt")),
        ("es-MX", ("es-mx", "es-419", "es")),
        ("en-AU", ("en-au", "en-001", "en")),
        ("en-DE", ("en-de", "en-150", "en-001", "en")),
        ("en-UK", ("en-gb", "en-001", "en")),
        ("zh-HK", ("zh-hk", "zh-hant", "zh")),
        ("zh-Hant-MO", ("zh-mo", "zh-hk", "zh-hant", "zh")),
        ("zh-Hans-HK", ("zh-hans-hk", "zh")),
        ("zh-Hans-CN", ("zh-cn", "zh")),
        ("sr-ME", ("sr-me", "sr-latn", "sr")),
        ("sr-Cyrl", ("sr",)),
        ("sh", ("sr-latn", "sr")),
        ("iw-IL", ("he-il", "he")),
        ("no", ("nb",)),
        ("nn-NO", ("nn-no", "nn", "nb")),
        ("tl", ("fil",)),
        ("prs", ("fa-af", "fa")),
        ("de-CH-1996", ("de-ch-1996", "de-ch", "de")),
        ("en-x-mine", ("en-x-mine", "en-x", "en")),
        ("xx-YY", ("xx-yy", "xx")),
    ],
)
def test_locales_fall_back_as_cldr_says(locale: str, chain: tuple[str, ...]) -> None:
    assert locale_chain(locale) == chain


@each_case(
    ("locale", "available", "chosen"),
    [
        ("", "default de", "default"),
        ("pt-BR", "default pt-br pt", "pt-br"),
        ("pt-PT", "default pt-br pt", "pt"),
        ("zh-Hant-TW", "default zh zh-hant", "zh-hant"),
        ("zh-HK", "default zh zh-hant", "zh-hant"),
        ("zh-Hant-TW", "default zh-tw zh", "zh-tw"),
        ("zh-TW", "default zh-hant-tw zh", "zh-hant-tw"),
        ("zh-CN", "default zh-hant zh-hans", "zh-hans"),
        ("zh-HK", "default zh", "zh"),
        ("iw", "default he", "he"),
        ("he-IL", "default iw", "iw"),
        ("iw", "default he iw", "iw"),
        ("no", "default nb nn", "nb"),
        ("nb-NO", "default no", "no"),
        ("nn", "default no", "no"),
        ("es-MX", "default es es-419", "es-419"),
        ("es-ES", "default es es-419", "es"),
        ("fr-CA", "default pt", "default"),
        ("fr-CA", "pt de", "pt"),
        ("default", "pt default", "default"),
    ],
)
def test_the_template_of_the_nearest_locale_is_chosen(locale: str, available: str, chosen: str) -> None:
    campaign = make_campaign(templates={name: Template(text=name) for name in available.split()})
    assert chosen_locale(campaign, locale) == chosen


@each_case(
    ("locale", "template", "expected"),
    [
        ("zh-HK", "zh-hant", "2026年7月15日 1,234.5"),
        ("iw", "he", "15 ביולי 2026 1,234.5"),
        ("no", "nb", "15. juli 2026 1\u00a0234,5"),
        ("es-MX", "es-419", "15 de julio de 2026 1,234.5"),
        ("es-MX", "es", "15 de julio de 2026 1,234.5"),
        ("es-ES", "es", "15 de julio de 2026 1.234,5"),
        ("fr", "default", "15 juillet 2026 1\u202f234,5"),
        ("fr", "de", "15. Juli 2026 1.234,5"),
        ("", "de", "15. Juli 2026 1.234,5"),
        ("nn", "nb", "15. juli 2026 1\u00a0234,5"),
        ("sr-Latn", "sr", "15. јул 2026. 1.234,5"),
        ("xx", "default", "July 15, 2026 1,234.5"),
    ],
)
def test_dates_and_numbers_fit_the_text(locale: str, template: str, expected: str) -> None:
    source = Template(text="{{ '2026-07-15' | datetime: 'long' }} {{ 1234.5 | decimal }}")
    campaign = make_campaign(templates={template: source})
    assert Renderer().render(campaign, make_trigger(locale=locale)).text == expected  # type: ignore[attr-defined]


def test_babel_has_the_data_of_every_locale_of_cldr() -> None:
    for identifier in locale_identifiers():
        found, first = str(babel_locale(identifier)), locale_chain(identifier)[0]
        assert locale_chain(found)[0] == first


@given(st.text(max_size=30) | st.from_regex("[a-zA-Z0-9]{1,8}([-_][a-zA-Z0-9]{1,8}){0,4}", fullmatch=True))
def test_any_text_has_a_locale(tag: str) -> None:
    chain = locale_chain(tag)
    assert len(chain) == len(set(chain))
    assert babel_locale(tag).language
