"""Suppressed recipients: list, add, remove, export. Imports are in `suppression_import.py`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

from starlette.responses import Response

from clarion.admin.v1 import suppression_pb2 as pb

from ..bulk import until_done
from ..csv_files import EXPORT
from ..errors import ApiError
from ..moments import NOT_A_TIME, parse_moment, read_moment
from ..numbers import whole_number
from ..visit import Page, Section, Visit
from ..words import word_of
from .suppression_import import IMPORT_PAGES

__all__ = ["PAGES", "SECTION"]

FilteredT = TypeVar("FilteredT", pb.ListSuppressionsRequest, pb.CountSuppressionsRequest)

SECTION = Section("Suppressions", "/suppressions")
_PAGE = 50
_FILTERS = ("channel", "address", "provider", "reason", "since")
_COLUMNS = ("project", "channel", "address", "reason", "provider", "trigger_id", "create_time")


async def list_suppressions(visit: Visit) -> Response:
    """List suppressed recipients."""
    found = pb.ListSuppressionsResponse()
    with visit.form.checked():
        request = _filtered(visit, pb.ListSuppressionsRequest)
        if request is not None:
            request.page_size, request.page_token = _PAGE, visit.query("page")
            found = await visit.call(request)
    return visit.page(
        "suppressions.html",
        "Suppressions",
        found=found,
        word=word_of,
        filters={name: visit.query(name) for name in ("project", *_FILTERS)},
        is_filtered=_is_filtered(visit),
        can_add=visit.can(pb.AddSuppressionsRequest, visit.project),
        can_remove=lambda project: visit.can(pb.RemoveSuppressionsRequest, project),
        export=f"{EXPORT}suppressions.csv",
    )


async def add_suppressions(visit: Visit) -> Response:
    """Suppress recipients."""
    visit.require(pb.AddSuppressionsRequest)
    form = visit.form.start(project=visit.project, channel="email")
    if form.is_sent:
        lines = [number for number, line in enumerate(form.text("addresses").split("\n"), 1) if line.strip()]
        with form.checked(lines):
            request = pb.AddSuppressionsRequest(
                project=form["project"],
                channel=form["channel"],
                addresses=[line.strip() for line in form.text("addresses").split("\n") if line.strip()],
                reason=form["reason"],
            )
            added = (await visit.call(request)).added
            notice = f"Suppressed {added} more; {len(lines) - added} already suppressed."
            return visit.redirect("/suppressions", notice, project=visit.query("project"))
    return visit.page("suppressions_add.html", "Suppress recipients", crumbs=[SECTION])


async def remove_suppressions(visit: Visit) -> Response:
    """Remove all that match the filters in the URL, after showing how many they are."""
    visit.require(pb.RemoveSuppressionsRequest, visit.query("project"))
    form = visit.form.start(removed="0", retried="0")
    totals = {name: whole_number(form[name]) or 0 for name in ("removed", "retried")}
    done = False
    if form.is_sent:
        with form.checked():
            done = await _remove(visit, totals)
    if done:
        retried = f"; {totals['retried']:,} messages are sent again" if form.is_checked("retry") else ""
        return visit.redirect(
            "/suppressions", f"Removed {totals['removed']:,}{retried}.", project=visit.query("project")
        )
    counted = pb.CountSuppressionsResponse()
    request = _filtered(visit, pb.CountSuppressionsRequest)
    if request is not None and _is_filtered(visit):
        counted = await visit.call(request)
    return visit.page(
        "suppressions_remove.html",
        "Remove suppressions",
        crumbs=[SECTION],
        word=word_of,
        counted=counted,
        totals=totals,
        is_filtered=_is_filtered(visit),
        is_partial=not visit.query("project") and not visit.has_role_everywhere("operator"),
    )


async def _remove(visit: Visit, totals: dict[str, int]) -> bool:
    """Remove as many as one request can; add how many to the totals, and return whether none is left."""
    form = visit.form
    filters = _filtered(visit, pb.ListSuppressionsRequest)
    if filters is None:
        return False
    request = pb.RemoveSuppressionsRequest(
        project=filters.project,
        channel=visit.query("channel"),
        address=filters.address,
        provider=filters.provider,
        reason=filters.reason,
        retry=form.is_checked("retry"),
    )
    if filters.HasField("since"):
        request.since.CopyFrom(filters.since)
    if form["until"]:
        request.until.CopyFrom(read_moment(form["until"]))

    async def step() -> bool:
        part: pb.RemoveSuppressionsResponse = await visit.call(request)
        totals["removed"] += part.removed
        totals["retried"] += part.retried
        request.until.CopyFrom(part.until)
        form.put("until", part.until.ToJsonString())
        return bool(part.done)

    return await until_done(step)


async def export_suppressions(visit: Visit) -> Response:
    """Return all that match the filters as CSV."""
    request = _filtered(visit, pb.ListSuppressionsRequest)
    if request is None:
        raise ApiError("INVALID_REQUEST", visit.form.problem, status=422)
    return await visit.download("suppressions.csv", _COLUMNS, request, _rows)


def _rows(page: pb.ListSuppressionsResponse) -> Iterable[Sequence[str]]:
    return map(_row, page.suppressions)


PAGES = (
    Page("/suppressions", list_suppressions),
    Page("/suppressions/add", add_suppressions, has_form=True),
    Page("/suppressions/remove", remove_suppressions, has_form=True),
    Page(f"{EXPORT}suppressions.csv", export_suppressions),
    *IMPORT_PAGES,
)


def _filtered(visit: Visit, kind: type[FilteredT]) -> FilteredT | None:
    """Return the request with the filters in the URL, or None with what is wrong noted in the form."""
    channel = visit.query("channel")
    try:
        request = kind(
            project=visit.query("project"),
            channel=f"CHANNEL_{(channel or 'unspecified').upper()}",
            address=visit.query("address"),
            provider=visit.query("provider"),
            reason=visit.query("reason"),
        )
    except ValueError:
        visit.form.fail("", f'"{channel}" is not a channel.')
        return None
    if since := visit.query("since"):
        try:
            request.since.CopyFrom(parse_moment(since))
        except ValueError:
            visit.form.fail("", f"Since: {NOT_A_TIME}")
            return None
    return request


def _is_filtered(visit: Visit) -> bool:
    return any(visit.query(name) for name in ("project", *_FILTERS))


def _row(one: pb.Suppression) -> list[str]:
    return [
        one.project,
        word_of(one, "channel"),
        one.address,
        one.reason,
        one.provider,
        one.trigger_id,
        one.create_time.ToJsonString(),
    ]
