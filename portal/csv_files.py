"""Files of comma-separated values: downloads that are made while they are sent, and uploads."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, aclosing
from typing import Any, TypeAlias

from starlette.responses import Response

from .streamed import Streamed

__all__ = ["EXPORT", "ROWS_OF_A_PAGE", "BadCsv", "Rows", "csv_download", "csv_rows", "list_pages"]

Rows: TypeAlias = Callable[[Any], Iterable[Sequence[str]]]
"""Returns the lines of a response."""

EXPORT = "/export/"
"""Paths of downloads begin with this; the gateway gives them no time limit (gateway/config/portal.py)."""
ROWS_OF_A_PAGE = 250
"""Rows that a download requests at once: for 1,000, a server accepted no trigger for 10 ms."""
_QUOTE = "'"
_FORMULA = re.compile(r"[=@\-\uff1d\uff20\uff0d\uff0b]|\+(?![0-9]+$)")
"""What spreadsheets take for a formula, also in full width (OWASP: CSV injection). Phone numbers are not."""


class BadCsv(Exception):
    """A file is not CSV in UTF-8."""


def csv_download(
    name: str, columns: Sequence[str], pages: AsyncGenerator[Iterable[Sequence[str]], None]
) -> Response:
    """Return a file that the browser saves.

    If a page fails, the connection is cut, so that the browser reports an incomplete file.

    Args:
        name: The file's name.
        columns: The first line.
        pages: The other lines, page by page.
    """

    async def text() -> AsyncGenerator[str, None]:
        async with aclosing(pages):
            yield _lines([columns])
            async for page in pages:
                yield _lines([[_cell(one) for one in row] for row in page])

    headers = {"content-disposition": f'attachment; filename="{name}"'}
    return Streamed(text(), "text/csv; charset=utf-8", headers)


async def list_pages(
    call: Callable[[Any], Awaitable[Any]],
    request: Any,
    page: Any,
    rows: Rows,
    share: AbstractContextManager[None],
) -> AsyncGenerator[Iterable[Sequence[str]], None]:
    """Yield the lines of a list, page by page.

    Args:
        call: Calls the API.
        request: Requests the list.
        page: The response with the first page.
        rows: Returns the lines of a response.
        share: Entered while the list is read.
    """
    with share:
        yield rows(page)
        while page.next_page_token:
            request.page_token = page.next_page_token
            page = await call(request)
            yield rows(page)


def csv_rows(text: str, required: Sequence[str] = ()) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the number of the line and the values by column of each row; the first line names the columns.

    Values may be separated by commas or, as some spreadsheets do, by semicolons.

    Raises:
        BadCsv: The text is not CSV, or a required column is missing.
    """
    first = text.partition("\n")[0]
    separator = ";" if ";" in first and "," not in first else ","
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        columns = [one.strip().lower() for one in next(reader, [])]
        missing = [f'"{one}"' for one in required if one not in columns]
        if columns and missing:
            raise BadCsv(f"The first line must name the columns; {' and '.join(missing)} missing.")
        for row in reader:
            if any(cell.strip() for cell in row):
                cells = (_without_quote(cell.strip()) for cell in row)
                yield reader.line_num, dict(zip(columns, cells, strict=False))
    except csv.Error as error:
        raise BadCsv(f"Line {reader.line_num} is not CSV: {error}.") from error


def _lines(rows: Iterable[Sequence[str]]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue()


def _cell(text: str) -> str:
    """Return a cell without control characters, which spreadsheets do not take for a formula."""
    shown = "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in text)
    return f"{_QUOTE}{shown}" if _FORMULA.match(shown) else shown


def _without_quote(cell: str) -> str:
    return cell[1:] if cell.startswith(_QUOTE) and _FORMULA.match(cell[1:]) else cell
