"""Locales: one spelling of each tag, and a cache that does not grow."""

from __future__ import annotations

import langcodes
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.domain.locale import normal_locale
from server.templates.locales import locale_chain
from tests.kit.cases import each_case


@each_case(
    ("tag", "normal"),
    [
        ("", ""),
        ("en", "en"),
        ("EN", "en"),
        ("en_US", "en-US"),
        ("pt_br", "pt-BR"),
        ("zh-hans-cn", "zh-Hans-CN"),
        ("es-419", "es-419"),
        ("de-ch-1996", "de-CH-1996"),
        ("sl-ROZAJ-biske", "sl-rozaj-biske"),
        ("de-DE-u-co-phonebk", "de-DE-u-co-phonebk"),
        ("en-x-Mine", "en-x-mine"),
        ("iw", "iw"),
        ("en-Latn-US", "en-Latn-US"),
    ],
)
def test_a_tag_is_spelt_as_bcp_47_recommends(tag: str, normal: str) -> None:
    assert normal_locale(tag) == normal


@pytest.mark.parametrize(
    "tag", ["e", "en-", "-en", "en--US", "é", "english", "en-US-Latn", "en-US-GB", "en-u", "en-x", "123-US-"]
)
def test_what_is_not_well_formed_is_refused(tag: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the library's sentence is not shown
        normal_locale(tag)


@given(st.from_regex("[a-zA-Z]{2,3}([-_][a-zA-Z0-9]{1,8}){0,4}", fullmatch=True))
def test_normal_spelling_is_stable_and_finds_the_template(tag: str) -> None:
    try:
        normal = normal_locale(tag)
    except ValueError:
        return
    assert len(normal) == len(tag)
    assert locale_chain(normal) == locale_chain(tag)
    assert normal_locale(normal) == normal


def test_many_tags_fill_no_cache_without_bound() -> None:
    before = len(langcodes.Language._INSTANCES)
    for number in range(2000):
        normal_locale(f"en-x-{number}")
    assert len(langcodes.Language._INSTANCES) == before
    assert normal_locale.cache_info().currsize <= 1024
