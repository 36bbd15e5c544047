"""Operations: changes of many deliveries, their progress, and how to stop them."""

from __future__ import annotations

from starlette.responses import Response

from clarion.admin.v1 import operation_pb2 as pb

from ..visit import Page, Section, Visit
from .deliveries import SECTION

__all__ = ["PAGES"]

_PAGE = 50
_LISTED = frozenset({"q", "project", "campaign_id", "channel", "provider", "error", "error_group"})
"""Filters that the list of deliveries has, written in the same way."""


async def list_operations(visit: Visit) -> Response:
    """List operations, the newest first."""
    request = pb.ListOperationsRequest(page_size=_PAGE, page_token=visit.query("page"))
    return visit.page("operations.html", "Bulk operations", crumbs=[SECTION], found=await visit.call(request))


async def operation(visit: Visit) -> Response:
    """Show how far an operation is."""
    found = await visit.call(pb.GetOperationRequest(operation_id=visit.path("operation_id")))
    return visit.page(
        "operation.html",
        f"{found.operation.kind.title()} deliveries",
        crumbs=[SECTION],
        one=found.operation,
        can_stop=visit.can(pb.CancelOperationRequest),
        matching=_filters(found.operation),
    )


async def stop(visit: Visit) -> Response:
    """Stop an operation."""
    operation_id = visit.path("operation_id")
    if visit.form.is_sent:
        with visit.form.checked():
            await visit.call(pb.CancelOperationRequest(operation_id=operation_id))
            return visit.redirect(f"/operations/{operation_id}", "The operation was stopped.")
    text = "Deliveries that it has already changed stay changed. The rest is not changed."
    crumbs = [SECTION, Section("Operation", f"/operations/{operation_id}")]
    return visit.confirm("Stop operation", text, "Stop it", crumbs=crumbs)


def _filters(one: pb.Operation) -> dict[str, str]:
    """Return the filters of an operation as parameters of the list of deliveries; empty if that lacks one."""
    found = dict(text.split(": ", 1) for text in one.filters)
    for name in ("external_id", "address"):
        if name in found:
            found["q"] = found.pop(name)
    return found if found.keys() <= _LISTED else {}


PAGES = (
    Page("/operations", list_operations),
    Page("/operations/{operation_id}", operation),
    Page("/operations/{operation_id}/stop", stop, has_form=True),
)
