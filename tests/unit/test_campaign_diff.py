"""Differences between versions of a campaign."""

from __future__ import annotations

from server.admin.campaign_diff import compared
from server.domain.campaign import Campaign, CampaignState, RetryPolicy, Template, Undefined
from tests.kit.dispatch import make_campaign


def with_text(text: str, locale: str = "default") -> Campaign:
    return make_campaign(templates={locale: Template(text=text)})


def lines(older: Campaign, newer: Campaign) -> list[tuple[str, str]]:
    [change] = compared(older, newer).changes
    return [(line.line_kind, line.text) for line in change.diff_lines]


def test_equal_campaigns_have_no_changes() -> None:
    assert not compared(with_text("a"), with_text("a")).changes


def test_all_kinds_of_fields_are_compared() -> None:
    older = make_campaign(retry=None)
    newer = make_campaign(
        name="Other",
        providers=("mail", "backup"),
        retry=RetryPolicy(max_attempts=5, first_delay=0.5),
        undefined=Undefined.STRICT,
        state=CampaignState.PAUSED,
        templates={"de": Template(text="Hallo")},
    )
    found = {change.field_name: change for change in compared(older, newer).changes}
    assert list(found) == [
        "display_name",
        "providers",
        "campaign_state",
        "default.subject",
        "default.text",
        "retry_policy",
        "strict_variables",
        "de.text",
    ]
    assert [line.text for line in found["providers"].diff_lines] == ["mail", "mail, backup"]
    assert "max_attempts: 5" in [line.text for line in found["retry_policy"].diff_lines]


def test_a_missing_last_line_feed_is_a_change() -> None:
    assert lines(with_text("a\n"), with_text("a")) == [("same", "a"), ("removed", "")]


def test_long_texts_are_not_aligned() -> None:
    """Aligning thousands of equal lines would take minutes."""
    before = "\n".join(["same", *["a", "b"] * 3000, "same"])
    after = "\n".join(["same", *["b", "a"] * 3000, "same"])
    found = lines(with_text(before), with_text(after))
    assert (found[0][0], found[-1][0]) == ("skipped", "skipped")
    kinds = [kind for kind, _ in found[1:-1]]
    assert kinds == ["removed"] * 6000 + ["added"] * 6000


def test_a_line_added_to_a_long_text_is_shown_alone() -> None:
    before = "\n".join(["a"] * 6000)
    assert lines(with_text(before), with_text(before + "\na")) == [("skipped", ""), ("added", "a")]


def test_large_differences_are_truncated() -> None:
    templates = {f"x-{number}": Template(text="a" * 200_000) for number in range(8)}
    found = compared(make_campaign(templates={}), make_campaign(templates=templates))
    assert found.truncated
    assert found.ByteSize() < 2_000_000
