"""What the frames of pages load: HTML from outside, which can do nothing."""

from __future__ import annotations

from starlette.responses import Response

from ..visit import FRAMED, Page, Visit

__all__ = ["FRAMES"]

_EXPIRED = "<p>This frame shows a message for ten minutes. Reload the page to see it again."


async def framed(visit: Visit) -> Response:
    """Return a message that a page of the same session shows in a frame."""
    html = visit.portal.framed.get(visit.caller.secret, visit.path("message_id"))
    return visit.sandboxed(_EXPIRED if html is None else html)


FRAMES = (Page(f"{FRAMED}{{message_id}}", framed),)
"""Not among the pages of `PAGES`, which have a title and a way back."""
