"""The metadata of both packages: it requires what the generated stubs check when they are imported."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[2]
PROJECTS = ("pyproject.toml", "client/pyproject.toml")
STUBS = ROOT / "protos/clarion/v1"


def required(project: str, name: str) -> Requirement:
    """Return what a package requires of a dependency."""
    found = tomllib.loads((ROOT / project).read_text(encoding="utf-8"))["project"]["dependencies"]
    [one] = [requirement for requirement in map(Requirement, found) if requirement.name == name]
    return one


def lowest(requirement: Requirement) -> Version:
    [bound] = [one.version for one in requirement.specifier if one.operator == ">="]
    return Version(bound)


@pytest.mark.parametrize("project", PROJECTS)
def test_minimum_grpcio_is_what_stubs_need(project: str) -> None:
    text = (STUBS / "trigger_pb2_grpc.py").read_text(encoding="utf-8")
    [needed] = re.findall(r"GRPC_GENERATED_VERSION = '([0-9.]+)'", text)
    assert lowest(required(project, "grpcio")) == Version(needed)
    assert lowest(required(project, "grpcio-status")) == Version(needed)


@pytest.mark.parametrize("project", PROJECTS)
def test_protobuf_range_is_what_stubs_accept(project: str) -> None:
    """A runtime accepts stubs of the same and of the previous major version."""
    text = (STUBS / "trigger_pb2.py").read_text(encoding="utf-8")
    [found] = re.findall(r"Domain\.PUBLIC,\s+(\d+),\s+(\d+),\s+(\d+),", text)
    major, *_ = map(int, found)
    protobuf = required(project, "protobuf")
    assert lowest(protobuf) == Version(".".join(found))
    assert protobuf.specifier.contains(f"{major + 1}.99")
    assert not protobuf.specifier.contains(f"{major + 2}.0")


def test_both_packages_have_the_same_license() -> None:
    """Not by a link, which an sdist would contain as one that leads nowhere."""
    assert not (ROOT / "client/LICENSE").is_symlink()
    assert (ROOT / "client/LICENSE").read_text() == (ROOT / "LICENSE").read_text()
