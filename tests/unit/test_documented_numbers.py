"""Numbers that pages and help texts repeat are those of the code."""

from __future__ import annotations

from pathlib import Path

from server.commands import deliveries, delivery_changes
from server.store.records import admin_pages
from server.wiring import serve

ROOT = Path(__file__).parents[2]


def page(path: str) -> str:
    """Return the text of a page without its line breaks."""
    return " ".join((ROOT / path).read_text(encoding="utf-8").split())


def test_connections_of_a_server() -> None:
    lists, watchers, operators = serve._FOR_LISTS, serve._FOR_WATCHERS, serve._FOR_OPERATORS
    expected = (
        f"opens up to {lists + watchers + operators} more: {lists} for lists, {watchers} for streams and"
        f" {operators} for operators"
    )
    assert expected in page("docs/how-to/run-on-several-machines.md")


def test_bounds_of_dead_letters() -> None:
    grouped = f"the newest {admin_pages._GROUPED:,}"
    assert grouped in (deliveries.groups.help or "")
    assert grouped in page("docs/how-to/find-out-why-a-message-did-not-arrive.md")
    dry_run = next(one for one in delivery_changes.retry.params if one.name == "dry_run")
    assert f"{admin_pages._COUNTED:,}" in str(vars(dry_run)["help"])
