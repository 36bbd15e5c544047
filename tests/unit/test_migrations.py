"""Migrations after 0013 leave what the version before uses, or say from which version on they can be used."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from server.store.schema.version import HEAD, SCRIPTS, SchemaVersion

FIRST = "0013"
"""The schema from which on each version runs on the next one's."""
RESTRICTS = re.compile(
    r"\bDROP (?!INDEX)|\bRENAME\b|\bSET NOT NULL\b|\bALTER COLUMN \w+ (SET DATA )?TYPE\b|\bTRUNCATE\b"
    r"|\bADD (COLUMN )?\w+ (?![^,;]*DEFAULT)[^,;]*NOT NULL"
    r"|\bADD (CONSTRAINT|CHECK|UNIQUE|PRIMARY|FOREIGN|EXCLUDE)\b|\bCREATE UNIQUE INDEX\b",
    re.IGNORECASE,
)


def restriction(sql: str) -> str:
    """Return the first part of a migration that the version before may not tolerate, or nothing."""
    statements = re.sub(r"--.*", "", sql)
    created = re.findall(r"CREATE TABLE (\w+)", statements)
    for statement in statements.split(";"):
        table = re.search(r"(?:ALTER TABLE|\bON) (\w+)", statement)
        found = RESTRICTS.search(statement)
        if found and not (table and table[1] in created):
            return found[0]
    return ""


@pytest.mark.parametrize(
    "sql",
    [
        "ALTER TABLE trigger DROP COLUMN event",
        "ALTER TABLE queue RENAME COLUMN provider TO lane",
        "ALTER TABLE trigger ADD COLUMN salutation text NOT NULL",
        "ALTER TABLE trigger ALTER COLUMN event SET NOT NULL",
        "ALTER TABLE trigger ALTER COLUMN event TYPE json",
        "ALTER TABLE trigger ADD CONSTRAINT short CHECK (length(event) < 9)",
        "CREATE UNIQUE INDEX ON trigger (address)",
        "DROP TABLE presence",
    ],
)
def test_what_the_version_before_may_not_tolerate_is_found(sql: str) -> None:
    assert restriction(sql)


@pytest.mark.parametrize(
    "sql",
    [
        "ALTER TABLE trigger ADD COLUMN salutation text NOT NULL DEFAULT ''",
        "ALTER TABLE trigger ADD COLUMN salutation text NOT NULL DEFAULT '', ADD COLUMN note text",
        "ALTER TABLE trigger ADD salutation text DEFAULT '' NOT NULL",
        "CREATE INDEX ON trigger (address)",
        "CREATE TABLE new (id int8 NOT NULL); CREATE UNIQUE INDEX ON new (id)",
        "-- DROP TABLE trigger is for later\nSELECT 1",
    ],
)
def test_additions_are_tolerated(sql: str) -> None:
    assert not restriction(sql)


def scripts() -> list[Path]:
    return [one for one in sorted((SCRIPTS / "versions").glob("*.sql")) if one.name[:4] > FIRST]


def test_migrations_leave_what_the_version_before_uses() -> None:
    assert FIRST <= HEAD
    for script in scripts():
        sql = script.read_text(encoding="utf-8")
        declares = "UPDATE schema_compatibility" in sql
        assert declares or not restriction(sql), f"{script.name}: {restriction(sql)!r} needs a new `oldest`"


@pytest.mark.parametrize(
    ("number", "oldest", "words"),
    [
        ("", "", "clarion migrate"),
        ("0001", "", "clarion migrate"),
        (HEAD, "", ""),
        ("9999", HEAD, ""),
        ("9999", FIRST, ""),
        ("9999", "9999", "install the newer"),
    ],
)
def test_schema_is_judged_by_number_and_oldest(number: str, oldest: str, words: str) -> None:
    problem = SchemaVersion(number, oldest).problem
    assert words in problem
    assert bool(words) == bool(problem)
