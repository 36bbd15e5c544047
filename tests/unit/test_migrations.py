"""Migrations after 0013 leave what the version before uses, and do not block the tables that are large.

A migration that the version before cannot use says from which version on it can be used.

`make lint` also runs Squawk, with tools/squawk.toml. Squawk 2.70 does not find `UPDATE`, `DELETE` or `LOCK
TABLE` of a whole table, and cannot know which tables are large.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from server.store.schema.indexes import INDEXES
from server.store.schema.version import HEAD, SCRIPTS, SchemaVersion

FIRST = "0013"
"""The schema from which on each version runs on the next one's."""
RESTRICTS = re.compile(
    r"\bDROP (?!INDEX)|\bRENAME\b|\bSET NOT NULL\b|\bALTER COLUMN \w+ (SET DATA )?TYPE\b|\bTRUNCATE\b"
    r"|\bADD (COLUMN )?\w+ (?![^,;]*DEFAULT)[^,;]*NOT NULL"
    r"|\bADD (CONSTRAINT|CHECK|UNIQUE|PRIMARY|FOREIGN|EXCLUDE)\b|\bCREATE UNIQUE INDEX\b",
    re.IGNORECASE,
)
LARGE = r"(?:trigger|attempt|queue)"
BLOCKS = re.compile(
    rf"\bCREATE (UNIQUE )?INDEX (?!CONCURRENTLY)[^;]*\bON (ONLY )?{LARGE}\b"
    rf"|\bUPDATE (ONLY )?{LARGE}\b|\bDELETE FROM (ONLY )?{LARGE}\b"
    rf"|\b(REINDEX|CLUSTER|LOCK|VACUUM|TRUNCATE)\b[^;]*\b{LARGE}\b"
    rf"|\bALTER TABLE (IF EXISTS )?(ONLY )?{LARGE}\b[^;]*("
    r"\bTYPE\b|\bSET NOT NULL\b|\bSTORED\b|\bIDENTITY\b|\bSERIAL\b|\bADD (PRIMARY|UNIQUE|EXCLUDE)\b"
    r"|\bADD (COLUMN )?[^;]*\b(UNIQUE|PRIMARY KEY|REFERENCES|CHECK)\b(?![^;]*\bNOT VALID\b)"
    r"|\bDEFAULT [^;]*\b(random|gen_random_uuid|clock_timestamp|nextval)\b)",
    re.IGNORECASE,
)
"""What rewrites or scans a large table while others cannot write to it, or wait for its rows."""


def without_functions(sql: str) -> str:
    """Leave out what a migration only defines, but does not run."""
    return re.sub(r"CREATE FUNCTION.*?\$\$.*?\$\$", "", sql, flags=re.DOTALL)


def blocking(sql: str) -> str:
    """Return the first part of a migration that blocks a large table for long, or nothing."""
    found = BLOCKS.search(without_functions(re.sub(r"--.*", "", sql)))
    return found[0] if found else ""


def restriction(sql: str) -> str:
    """Return the first part of a migration that the version before may not tolerate, or nothing."""
    statements = without_functions(re.sub(r"--.*", "", sql))
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
        "CREATE FUNCTION f() RETURNS void LANGUAGE sql AS $$ DROP TABLE trigger $$",
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
    "sql",
    [
        "CREATE INDEX trigger_by_address ON trigger (address)",
        "CREATE INDEX IF NOT EXISTS by_provider ON attempt USING btree (provider)",
        "CREATE UNIQUE INDEX ON queue (trigger_id)",
        "UPDATE trigger SET event = ''",
        "DELETE FROM attempt",
        "LOCK TABLE queue",
        "REINDEX TABLE trigger",
        "ALTER TABLE trigger ALTER COLUMN event TYPE json",
        "ALTER TABLE trigger ALTER COLUMN event SET NOT NULL",
        "ALTER TABLE attempt ADD CONSTRAINT short CHECK (length(detail) < 9)",
        "ALTER TABLE attempt ADD COLUMN twin uuid REFERENCES trigger",
        "ALTER TABLE queue ADD COLUMN id uuid DEFAULT gen_random_uuid()",
        "ALTER TABLE trigger ADD COLUMN n text GENERATED ALWAYS AS (lower(address)) STORED",
    ],
)
def test_what_blocks_a_large_table_is_found(sql: str) -> None:
    assert blocking(sql)


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE INDEX webhook_age ON webhook (created_at)",
        "ALTER TABLE trigger ADD COLUMN salutation text NOT NULL DEFAULT ''",
        "ALTER TABLE attempt ADD CONSTRAINT short CHECK (length(detail) < 9) NOT VALID",
        "DROP INDEX trigger_by_address",
        "CREATE TRIGGER only_once BEFORE UPDATE ON audit_event EXECUTE FUNCTION f()",
        "-- UPDATE trigger is for later\nSELECT 1",
    ],
)
def test_short_locks_are_accepted(sql: str) -> None:
    assert not blocking(sql)


def test_migrations_do_not_block_large_tables() -> None:
    for script in scripts():
        found = blocking(script.read_text(encoding="utf-8"))
        assert not found, (
            f"{script.name}: {found!r} blocks a large table; build indexes in schema/indexes.sql"
        )


def test_indexes_are_built_concurrently_under_their_name() -> None:
    """Not unique: a duplicate would stop the migration, and the version before."""
    for name, statement in INDEXES.items():
        assert statement.text.lstrip().startswith(f"CREATE INDEX CONCURRENTLY {name} ON "), name
        assert not statement.parameters


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
