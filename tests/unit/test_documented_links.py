"""Links between pages of the documentation: the page and its heading exist."""

from __future__ import annotations

import re
from pathlib import Path

from tests.kit.cases import each_case
from tests.unit.test_documented_commands import PAGES, ROOT

LINK = r"\]\(([^)#\s:]*)(?:#([^)\s]+))?\)"


def headings(page: Path) -> set[str]:
    """Return the anchors of a page, as GitHub forms them."""
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@each_case("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_resolve(page: Path) -> None:
    for path, anchor in re.findall(LINK, page.read_text()):
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), path
        assert not anchor or anchor in headings(target), f"{path}#{anchor}"
