"""Files of comma-separated values in the portal."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable, Sequence

import pytest
from starlette.types import Message

from portal.csv_files import BadCsv, csv_download, csv_rows
from server.commands.csv_cells import cell as cell_of
from server.commands.csv_cells import without_quote

CELLS = ["=1+1", "@a", "-1", "+cmd|' /C calc'!A0", "+12345678900", 'plain, "quoted"', "a\nb\u202e"]


async def lines(rows: list[list[str]]) -> str:
    async def pages() -> AsyncGenerator[Iterable[Sequence[str]], None]:
        yield rows

    response = csv_download("a.csv", ["cell"], pages())
    body = response.body_iterator  # type: ignore[attr-defined]
    return "".join([part async for part in body])


async def test_cells_are_not_formulas() -> None:
    text = await lines([[cell] for cell in CELLS])
    assert [row["cell"] for _, row in csv_rows(text)] == [*CELLS[:6], "a\\u000ab\\u202e"]
    for cell in CELLS[:4]:
        assert f"'{cell}" in text
    assert "\n+12345678900\n" in text


async def test_a_download_stops_when_its_reader_leaves() -> None:
    """Otherwise it would read all rows of the database; this one would not end."""
    left, closed = asyncio.Event(), asyncio.Event()

    async def pages() -> AsyncGenerator[Iterable[Sequence[str]], None]:
        try:
            while True:
                yield [["row"]]
        finally:
            closed.set()

    async def receive() -> Message:
        await left.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        if b"row" in message.get("body", b""):
            left.set()
        await asyncio.sleep(0)

    scope = {"type": "http", "asgi": {"spec_version": "2.3"}}  # as uvicorn has it
    await csv_download("a.csv", ["cell"], pages())(scope, receive, send)
    assert closed.is_set()


@pytest.mark.parametrize("cell", CELLS[:6])
async def test_the_command_line_writes_the_same_cells(cell: str) -> None:
    assert [
        row["cell"] for _, row in csv_rows(f'cell\n"{cell_of(cell).replace(chr(34), chr(34) * 2)}"\n')
    ] == [cell]
    assert without_quote(cell_of(cell)) == cell
    assert (cell_of(cell) != cell) == (cell in CELLS[:4])


def test_rows_have_their_lines() -> None:
    text = 'channel;address\r\nemail;a@test.com\r\n\r\nemail;"b,\nc"\r\nemail\r\n'
    assert list(csv_rows(text)) == [
        (2, {"channel": "email", "address": "a@test.com"}),
        (5, {"channel": "email", "address": "b,\nc"}),
        (6, {"channel": "email"}),
    ]
    assert list(csv_rows("")) == []


@pytest.mark.parametrize("text", ['a,b\n"x', f"a\n{'x' * 200_000}"])
def test_what_is_not_csv_is_named(text: str) -> None:
    with pytest.raises(BadCsv, match="is not CSV"):
        list(csv_rows(text))


def test_missing_columns_are_one_error() -> None:
    with pytest.raises(BadCsv, match=r'first line must name the columns; "channel" missing\.'):
        list(csv_rows("address,reason\na@test.com,bounced\nb@test.com,bounced\n", ("channel", "address")))


@pytest.mark.parametrize("cell", ["\uff1d1+1", "\uff20a", "\uff0d1", "\uff0b1"])
async def test_signs_of_full_width_begin_formulas(cell: str) -> None:
    assert cell_of(cell) == f"'{cell}"
    assert f"\n'{cell}\n" in await lines([[cell]])
