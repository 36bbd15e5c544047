"""Warnings about what other users of the machine can read or use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from server.process.exposure import exposures
from server.up import demo

SECRETS = """
[database]
url = "postgresql://clarion:hunter2@db/clarion"

[providers.mail]
type = "smtp"
password = "hunter2"
dkim_key_file = "/etc/clarion/dkim.pem"

[providers.text]
type = "twilio"
auth_token = "hunter2"
api_secret = ""
"""


@pytest.fixture(autouse=True)
def _ordinary_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "clarion.toml"
    path.write_text(SECRETS)
    return path


@pytest.mark.parametrize("mode", [0o640, 0o644, 0o604])
def test_readable_secrets_are_named(config: Path, mode: int) -> None:
    config.chmod(mode)
    (warning,) = exposures(config)
    for expected in (
        "database.url",
        "providers.mail.password",
        "providers.text.auth_token",
        f"chmod 600 {config}",
    ):
        assert expected in warning
    for other in ("hunter2", "dkim_key_file", "api_secret"):
        assert other not in warning


def test_private_file_is_fine(config: Path) -> None:
    config.chmod(0o600)
    assert exposures(config) == []


def test_readable_file_without_secrets_is_fine() -> None:
    assert exposures(demo.CONFIG) == exposures(None) == []


def test_root_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    (warning,) = exposures(None)
    assert "ordinary user" in warning
