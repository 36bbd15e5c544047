"""`clarion migrate --plan` shows what a migration would do, and changes nothing."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys

import asyncpg
import pytest

from server.errors import ConfigError
from server.store.partitioning import PARTITIONED
from server.store.schema.indexes import INDEXES
from server.store.schema.migrate import migrate
from server.store.schema.plan import plan_migration
from server.store.schema.version import HEAD, SCRIPTS

_numbers = itertools.count()
BEFORE = "0028"
ROWS = 3000


@pytest.fixture
async def own(url: str) -> str:
    """The URL of a new database."""
    name = f"planned_{next(_numbers)}"
    connection = await asyncpg.connect(url)
    await connection.execute(f"CREATE DATABASE {name}")
    await connection.close()
    return url.replace("/clarion?", f"/{name}?")


async def older(url: str) -> None:
    """Bring an empty database to an older schema."""
    connection = await asyncpg.connect(url)
    for script in sorted((SCRIPTS / "versions").glob("*.sql")):
        if script.name[:4] <= BEFORE:
            await connection.execute(script.read_text(encoding="utf-8"))
    await connection.execute("CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY)")
    await connection.execute("INSERT INTO alembic_version VALUES ($1)", BEFORE)
    await connection.close()


async def tables(url: str) -> list[str]:
    connection = await asyncpg.connect(url)
    rows = await connection.fetch("SELECT relname, relkind::text FROM pg_class ORDER BY oid")
    await connection.close()
    return [f"{row[0]} {row[1]}" for row in rows]


async def test_the_plan_of_an_empty_database_has_all_migrations(own: str) -> None:
    before = await tables(own)
    plan = await plan_migration(own)
    assert plan.found == ""
    assert len(plan.migrations) == len(list((SCRIPTS / "versions").glob("*.py")))
    assert {one.name for one in plan.indexes} == set(INDEXES)
    assert {one.table for one in plan.partitions} == set(PARTITIONED)
    assert await tables(own) == before


async def test_the_plan_of_an_older_schema_has_only_what_is_missing(own: str) -> None:
    await older(own)
    before = await tables(own)
    plan = await plan_migration(own)
    assert plan.found == BEFORE
    assert plan.migrations[0] == "0029_retention"
    assert plan.migrations[-1].startswith(HEAD)
    assert [one.table for one in plan.partitions] == list(PARTITIONED)
    assert await tables(own) == before


async def test_nothing_is_planned_after_the_migration(own: str) -> None:
    await migrate(own)
    plan = await plan_migration(own)
    assert not plan.migrations
    assert not plan.indexes
    assert not plan.partitions
    assert plan.lines()[-1] == "nothing to do"


async def test_sizes_and_an_invalid_index_are_in_the_plan(own: str) -> None:
    await migrate(own)
    connection = await asyncpg.connect(own)
    await connection.execute("INSERT INTO project (id, name) VALUES (1, 'one')")
    await connection.execute(
        "INSERT INTO suppression (project_id, channel, address, reason, provider, trigger_id)"
        " SELECT 1, 'email', n || '@example.com', 'manual', 'p', gen_random_uuid()"
        " FROM generate_series(1, $1) n",
        ROWS,
    )
    await connection.execute(
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'suppression_of_project'::regclass"
    )
    await connection.close()
    [index] = (await plan_migration(own)).indexes
    assert (index.name, index.table, index.is_invalid) == ("suppression_of_project", "suppression", True)
    assert index.size > ROWS * 20


async def test_a_schema_that_is_too_new_is_refused(own: str) -> None:
    await migrate(own)
    connection = await asyncpg.connect(own)
    await connection.execute("UPDATE alembic_version SET version_num = '9999'")
    await connection.execute("UPDATE schema_compatibility SET oldest = '9998'")
    await connection.close()
    with pytest.raises(ConfigError, match="install the newer one"):
        await plan_migration(own)


async def test_the_command_prints_the_plan_as_json(own: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLARION_DATABASE_URL", own)
    command = [sys.executable, "-m", "server", "migrate"]
    done = subprocess.run([*command, "--plan", "--json"], capture_output=True, text=True, check=True)  # noqa: ASYNC221
    found = json.loads(done.stdout)
    assert found["target"] == HEAD
    assert found["estimated_seconds"] == [0, 0]
    assert "50 to 250 MiB/s" in found["basis"]
    refused = subprocess.run([*command, "--json"], capture_output=True, text=True, check=False)  # noqa: ASYNC221
    assert "--json requires --plan" in refused.stderr
    assert refused.returncode == 2
