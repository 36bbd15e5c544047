"""Named statements: parameters, fragments, and what the wheel must contain."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from server.store import sql
from server.store.sql import Statement, load
from tests.kit.cases import each_case

STORE = Path(sql.__file__).parent
FILES = sorted(
    str(path.relative_to(STORE))
    for path in STORE.rglob("*.sql")
    if "migrations" not in path.parts and path.name != "fragments.sql"
)


def test_parameters_are_numbered_by_first_use() -> None:
    statement = Statement("SELECT :b::int8, :a, :b")
    assert statement.text == "SELECT $1::int8, $2, $1"
    assert statement(a=1, b=2) == ("SELECT $1::int8, $2, $1", 2, 1)


@pytest.mark.parametrize("text", ["SELECT 'HH24:mi:ss'", "SELECT 'it''s :a'", "SELECT x::text"])
def test_strings_and_casts_hold_no_parameters(text: str) -> None:
    statement = Statement(text)
    assert (statement.text, statement.parameters) == (text, ())


def test_comments_are_removed() -> None:
    assert Statement("SELECT 1 -- one :a, it's\n+ :b").text == "SELECT 1 \n+ $1"


@pytest.mark.parametrize("values", [{}, {"a": 1}, {"a": 1, "c": 2}, {"a": 1, "b": 2, "c": 3}])
def test_values_must_fit_the_parameters(values: dict[str, object]) -> None:
    with pytest.raises(TypeError, match="the parameters are a, b"):
        Statement("SELECT :a, :b")(**values)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "fragments.sql").write_text("-- fragment: shared\n1\n")
    monkeypatch.setattr(sql, "_FOLDER", tmp_path)
    return tmp_path


def test_fragments_include_fragments(folder: Path) -> None:
    (folder / "a.sql").write_text(
        "-- About the file.\n\n-- fragment: own\n-- include: shared\n+ :n\n\n-- name: sum\n"
        "SELECT\n    -- include: own\n    + -- include: given\n"
    )
    assert load("a.sql", given="3")["sum"].text.split() == ["SELECT", "1", "+", "$1", "+", "3"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("-- name: a\nSELECT 1\n-- name: a\nSELECT 2\n", "'a' is defined twice"),
        ("-- fragment: shared\n2\n", "'shared' is defined twice"),
        ("-- name: a\n-- include: unknown\n", "'unknown' is not defined"),
    ],
)
def test_wrong_files_are_rejected(folder: Path, text: str, problem: str) -> None:
    (folder / "a.sql").write_text(text)
    with pytest.raises(ValueError, match=problem):
        load("a.sql")


ADDED = "_(in_state|of_user|of_address)$"
"""What pages.py and admin_pages.py add to the names of statements."""


@each_case("file", [file for file in FILES if file != "schema/indexes.sql"])
def test_every_statement_is_used(file: str) -> None:
    """Each name is quoted in a module of the file's folder. Indexes are built all together."""
    modules = "".join(path.read_text() for path in (STORE / file).parent.glob("*.py"))
    for name in load(file, trigger_columns="id", given_triggers="t", queue_retain="", given_retain=""):
        stem = re.sub(ADDED, "", name)
        assert f'"{name}"' in modules or f'"{stem}"' in modules, name
