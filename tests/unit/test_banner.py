"""What `clarion up` prints once everything runs."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from server.domain.campaign import Campaign, Channel
from server.up.banner import DEMO_ADMIN_KEY_FILE, demo_text, in_url, next_steps, waiting_text


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


@pytest.mark.parametrize("is_terminal", [True, False])
def test_admin_key_is_printed_on_a_terminal_only(
    *, is_terminal: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / DEMO_ADMIN_KEY_FILE).write_text("ak_secret\n")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: is_terminal, raising=False)
    text = demo_text("http://127.0.0.1:8080", "sk_secret", tmp_path)
    shown = "ak_secret" if is_terminal else f"in {tmp_path / DEMO_ADMIN_KEY_FILE}"
    assert f"enter the admin key {shown}\n" in text
