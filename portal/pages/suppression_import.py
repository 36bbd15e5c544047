"""Import of suppressed recipients from a CSV file."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from starlette.responses import Response

from clarion.admin.v1 import suppression_pb2 as pb

from ..bulk import until_done
from ..csv_files import BadCsv, csv_rows
from ..errors import ApiError, Violation
from ..forms import Form
from ..visit import Page, Section, Visit

__all__ = ["IMPORT_PAGES"]

_AT_ONCE = 1000
_MAX_PROBLEMS = 20
_MAX_SHOWN = 100  # characters of a value that is wrong
_NOTHING = "Choose a file, or enter rows. The first line names the columns: channel,address,reason"
_REQUIRED = ("channel", "address")
_DEFAULT_REASON = "imported"
_SUPPRESSIONS = Section("Suppressions", "/suppressions")


@dataclass(slots=True)
class _Part:
    """Recipients of one call: of one channel, for one reason.

    Attributes:
        lines: The line of each.
    """

    channel: str
    reason: str
    addresses: list[str] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)


async def import_suppressions(visit: Visit) -> Response:
    """Suppress the recipients in a file."""
    visit.require(pb.AddSuppressionsRequest)
    form = visit.form.start(project=visit.project, reason=_DEFAULT_REASON)
    if form.is_sent:
        await _take_file(form)
        # In a thread, because a file of 1 MiB can take a second, in which no other page would be served.
        parts = await asyncio.to_thread(_parts, form)
        if not form.errors:
            rows, added = sum(len(one.lines) for one in parts), 0
            left, wrong = list(reversed(parts)), list[Violation]()

            async def step() -> bool:
                nonlocal added
                if left:
                    number, problems = await _add(visit, left[-1])
                    added += number
                    wrong.extend(problems)
                    left.pop()
                return not left

            with form.checked():
                if await until_done(step) and not wrong:
                    notice = f"Suppressed {added:,} more; {rows - added:,} already suppressed."
                    return visit.redirect("/suppressions", notice, project=visit.query("project"))
                if not wrong:
                    form.fail("", "There are many recipients. Send the form again to continue with the rest.")
            form.note(sorted(wrong, key=lambda one: int(one.field[len("csv[") : -1])))
            _note_progress(form, added)
    return visit.page("suppressions_import.html", "Import suppressions", crumbs=[_SUPPRESSIONS])


IMPORT_PAGES = (Page("/suppressions/import", import_suppressions, has_form=True),)


async def _take_file(form: Form) -> None:
    """Put the text of an uploaded file into the form, where it can be corrected."""
    file = form.file("file")
    if file is None:
        return
    try:
        form.put("csv", (await file.read()).decode("utf-8-sig").replace("\r\n", "\n"))
    except UnicodeDecodeError:
        form.fail("file", "The file is not in UTF-8. In a spreadsheet, save it as CSV UTF-8.")


def _parts(form: Form) -> list[_Part]:
    """Return the recipients in the form in parts for the API; note in the form what is wrong."""
    latest: dict[tuple[str, str], _Part] = {}
    parts: list[_Part] = []
    problems: list[str] = []
    try:
        for line, row in csv_rows(form.text("csv"), _REQUIRED):
            channel, address = row.get("channel", ""), row.get("address", "")
            if not channel or not address:
                missing = "channel" if not channel else "address"
                problems.append(f"Line {line}: {missing} is missing.")
                continue
            key = channel, row.get("reason") or form["reason"]
            part = latest.get(key)
            if part is None or len(part.lines) == _AT_ONCE:
                part = latest[key] = _Part(*key)
                parts.append(part)
            part.addresses.append(address)
            part.lines.append(line)
    except BadCsv as error:
        problems.append(str(error))
    if problems:
        more = len(problems) - _MAX_PROBLEMS
        form.fail("csv", " ".join(problems[:_MAX_PROBLEMS]) + (f" {more:,} more." if more > 0 else ""))
    elif not parts:
        form.fail("csv", _NOTHING)
    return parts


async def _add(visit: Visit, part: _Part) -> tuple[int, list[Violation]]:
    """Add a part; return how many were not suppressed before, and what is wrong with which lines of the file.

    If a row is invalid, none of the part is added.
    """
    request = pb.AddSuppressionsRequest(
        project=visit.form["project"], channel=part.channel, addresses=part.addresses, reason=part.reason
    )
    try:
        response: pb.AddSuppressionsResponse = await visit.call(request)
    except ApiError as error:
        if not error.violations or any(one.field == "project" for one in error.violations):
            raise
        return 0, [_in_file(one, part) for one in error.violations]
    return response.added, []


def _in_file(violation: Violation, part: _Part) -> Violation:
    """Return what is wrong with a row as what is wrong with the file."""
    name, _, rest = violation.field.partition("[")
    place = int(rest.partition("]")[0] or 0)
    value = part.addresses[place] if name == "addresses" else str(getattr(part, name, ""))
    shown = value if len(value) <= _MAX_SHOWN else f"{value[:_MAX_SHOWN]}…"
    description = f'{name.removesuffix("es")} "{shown}": {violation.description}'
    return Violation(f"csv[{part.lines[place] - 1}]", description)


def _note_progress(form: Form, added: int) -> None:
    """Note in the form how much of the file was done before the error."""
    who = "recipient of the file is" if added == 1 else "recipients of the file are"
    done = f"{added:,} {who} suppressed; send the corrected file again for the rest."
    form.problem = " ".join(filter(None, (form.problem, done if added else "")))
