"""The audit log: every change that operators made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import quote

from starlette.responses import Response

from clarion.admin.v1 import audit_pb2 as pb

from ..changes import field_changes
from ..csv_files import EXPORT
from ..errors import ApiError
from ..moments import NOT_A_TIME, parse_moment
from ..visit import Page, Section, Visit

__all__ = ["PAGES", "SECTION"]

SECTION = Section("Audit log", "/audit", role="admin")
_PAGE = 50
_TEXTS = ("project", "actor", "action", "resource")
_TIMES = ("since", "before")
_PAGES_OF: Mapping[str, str] = {
    "campaign": "/campaigns",
    "key": "/keys",
    "operation": "/operations",
    "project": "/projects",
    "webhook": "/webhooks",
}
"""The page above those of a kind of resource."""


async def list_events(visit: Visit) -> Response:
    """List changes, the newest first."""
    visit.require(pb.ListAuditEventsRequest)
    found = pb.ListAuditEventsResponse()
    with visit.form.checked():
        request = _filtered(visit)
        if request is not None:
            request.page_size, request.page_token = _PAGE, visit.query("page")
            found = await visit.call(request)
    return visit.page(
        "audit.html",
        "Audit log",
        found=found,
        changes=field_changes,
        page_of=_page_of,
        filters={name: visit.query(name) for name in (*_TEXTS, *_TIMES)},
        export=f"{EXPORT}audit.csv",
    )


async def export_events(visit: Visit) -> Response:
    """Return all changes that match the filters, as CSV."""
    visit.require(pb.ListAuditEventsRequest)
    request = _filtered(visit)
    if request is None:
        raise ApiError("INVALID_REQUEST", visit.form.problem, status=422)
    columns = [field.name for field in pb.AuditEvent.DESCRIPTOR.fields]
    return await visit.download("audit.csv", columns, request, _rows)


PAGES = (
    Page("/audit", list_events),
    Page(f"{EXPORT}audit.csv", export_events),
)


def _page_of(resource: str) -> str:
    """Return the path of the page of a resource such as `campaign/demo/44`; empty if it has none."""
    kind, _, rest = resource.partition("/")
    return f"{_PAGES_OF[kind]}/{quote(rest)}" if kind in _PAGES_OF and rest else ""


def _rows(page: pb.ListAuditEventsResponse) -> Iterable[Sequence[str]]:
    return map(_row, page.audit_events)


def _row(one: pb.AuditEvent) -> list[str]:
    values = (getattr(one, field.name) for field in pb.AuditEvent.DESCRIPTOR.fields)
    return [value if isinstance(value, str) else value.ToJsonString() for value in values]


def _filtered(visit: Visit) -> pb.ListAuditEventsRequest | None:
    """Return the request with the filters in the URL; None if one is invalid, which the form reports."""
    request = pb.ListAuditEventsRequest(
        project=visit.query("project"),
        actor=visit.query("actor"),
        action=visit.query("action"),
        resource=visit.query("resource"),
    )
    for name in _TIMES:
        if not visit.query(name):
            continue
        try:
            getattr(request, name).CopyFrom(parse_moment(visit.query(name)))
        except ValueError:
            visit.form.fail("", f"{name.title()}: {NOT_A_TIME}")
            return None
    return request
