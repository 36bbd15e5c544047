"""The packages: `twine` accepts them, and an sdist builds the same wheel as the repository."""

from __future__ import annotations

import os
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.deploy.conftest import ROOT
from tests.kit.commands import run_program

pytestmark = pytest.mark.long


async def build(source: Path, target: Path, kind: str) -> Path:
    """Build one package and return its file."""
    command = (sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", target)
    done = await run_program(*command, folder=source, env={**os.environ})
    assert done.code == 0, done.err
    return only(target)


@pytest.mark.parametrize("source", [ROOT, ROOT / "client"], ids=["clarion", "clarion-client"])
async def test_packages_are_valid_and_complete(ship: Path, tmp_path: Path, source: Path) -> None:
    wheel = await build(source, tmp_path / "wheel", "wheel")
    sdist = await build(source, tmp_path / "sdist", "sdist")
    done = await run_program(
        ship / "twine", "check", "--strict", wheel, sdist, folder=ROOT, env={**os.environ}
    )
    assert done.code == 0, done.out + done.err
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    unpacked = only(tmp_path / "unpacked")
    assert not (unpacked / "tests").exists()
    again = await build(unpacked, tmp_path / "again", "wheel")
    assert names(again) == names(wheel)


def only(folder: Path) -> Path:
    [one] = folder.iterdir()
    return one


def names(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        return sorted(archive.namelist())
