"""What `clarion up` prints once everything runs."""

from __future__ import annotations

from server.domain.campaign import Campaign, Channel
from server.up.banner import in_url, next_steps, waiting_text


def test_campaign_without_a_provider_is_named_with_the_remedy() -> None:
    text = waiting_text("shop", Campaign(1, 44, "welcome", Channel.EMAIL, ("smtp", "backup")))
    assert "campaign 44 of project shop will wait" in text
    assert "smtp, backup is not configured; add [providers.NAME]" in text


def test_next_steps_have_the_address() -> None:
    assert "--target https://127.0.0.1:8443" in next_steps("https://127.0.0.1:8443")


def test_any_address_is_shown_as_the_loopback() -> None:
    assert [in_url(host) for host in ("0.0.0.0", "::", "10.0.0.5", "fd00::1")] == [  # noqa: S104 - not bound
        "127.0.0.1",
        "[::1]",
        "10.0.0.5",
        "[fd00::1]",
    ]
