"""The keys that `clarion up --demo` creates."""

from __future__ import annotations

import stat
from pathlib import Path

from server.config import load
from server.postgres.embedded import EmbeddedPostgres
from server.up.demo_project import prepare_demo
from tests.contract.portal.conftest import Visitor
from tests.kit.stack import Stack


async def test_the_demos_admin_key_signs_in_and_is_kept(
    stack: Stack, stranger: Visitor, tmp_path: Path
) -> None:
    url = EmbeddedPostgres(stack.data, stack.server_socket.parent).url
    settings = load(None, {"CLARION_DATABASE_URL": url})
    secret = await prepare_demo(settings, tmp_path)
    key = (tmp_path / "demo-admin-key").read_text().strip()
    for name in ("demo-key", "demo-admin-key"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
    assert (await stranger.sign_in(key)).headers["location"] == "/portal/"
    assert "clarion up --demo" in (await stranger.get("/keys")).text
    assert await prepare_demo(settings, tmp_path) == secret
    assert (tmp_path / "demo-admin-key").read_text().strip() == key
