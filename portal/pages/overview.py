"""The first page."""

from __future__ import annotations

from starlette.responses import Response

from ..visit import Page, Section, Visit

__all__ = ["PAGES", "SECTION"]

SECTION = Section("Overview", "/")


async def overview(visit: Visit) -> Response:
    """Show what exists and what to do next."""
    return visit.page("overview.html", "Overview")


PAGES = (Page("/", overview),)
