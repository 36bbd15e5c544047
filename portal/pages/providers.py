"""Providers: circuit breakers, rates and recent errors."""

from __future__ import annotations

from starlette.responses import Response

from clarion.admin.v1 import provider_pb2 as pb

from ..visit import Page, Section, Visit

__all__ = ["PAGES", "SECTION"]

SECTION = Section("Providers", "/providers", everywhere=True)


async def list_providers(visit: Visit) -> Response:
    """List providers."""
    found = None
    if visit.has_role_everywhere("viewer"):
        found = await visit.call(pb.ListProvidersRequest())
    return visit.page("providers.html", "Providers", found=found)


PAGES = (Page("/providers", list_providers),)
