"""Rules of the repository: who may import whom, locks, generated code."""

from __future__ import annotations

import ast
import functools
import importlib.util
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import clarion_client

ROOT = Path(__file__).parents[2]
OURS = ("server", "gateway", "portal", "clarion_client")
HOMES = {"clarion_client": "client"}
# What each part may import of ours, in addition to itself, server.errors and server.metrics. `api` and
# `dispatcher` never import each other. The parts in JOINING assemble the others and may import anything.
MAY_IMPORT: dict[str, set[str]] = {
    "server.errors": set(),
    "server.metrics": set(),
    "server.tracing": set(),
    "server.domain": set(),
    "server.config": {"gateway", "portal", "server.admin", "server.api", "server.dispatcher"},
    "server.process": {"gateway", "server.config"},
    "server.postgres": set(),
    "server.channels": {"server.domain"},
    "server.intake": {"server.channels", "server.domain"},
    "server.api": {"server.channels", "server.domain", "server.intake"},
    "server.templates": {"server.channels", "server.domain"},
    "server.admin": {
        "server.api",
        "server.channels",
        "server.domain",
        "server.intake",
        "server.store",
        "server.store.admin",
        "server.store.queue",
        "server.store.records",
        "server.store.schema",
        "server.store.statistics",
        "server.templates",
    },
    "server.dispatcher": {
        "server.channels",
        "server.dispatcher.providers",
        "server.domain",
        "server.templates",
    },
    "server.dispatcher.providers": {"server.channels", "server.dispatcher", "server.domain"},
    "server.dispatcher.webhooks": {
        "server.dispatcher",
        "server.dispatcher.providers",
        "server.domain",
    },
    "server.store": {"server.domain", "server.store.admin"},
    "server.store.schema": {"server.store"},
    "server.store.accept": {"server.domain", "server.store"},
    "server.store.queue": {"server.domain", "server.store", "server.store.accept"},
    "server.store.admin": {"server.domain", "server.store", "server.store.queue"},
    "server.store.records": {
        "server.domain",
        "server.store",
        "server.store.accept",
        "server.store.admin",
        "server.store.queue",
    },
    "server.store.statistics": {"server.domain", "server.store", "server.store.records"},
    "gateway": {"gateway.config", "gateway.run"},
    "gateway.config": {"gateway"},
    "gateway.run": {"gateway", "gateway.config"},
    "clarion_client": set(),
    "portal": {"portal.pages"},
    "portal.pages": {"portal"},
}
JOINING = {"server.cli", "server.commands", "server.up", "server.wiring"}
LOCKS = ("requirements.lock", "requirements-dev.lock")

IN_GIT = shutil.which("git") is not None and (ROOT / ".git").exists()
LONGEST_TEST_NAME = 60
LONGEST_MODULE = 300


def modules() -> Iterator[tuple[str, Path]]:
    for top in OURS:
        home = ROOT / HOMES.get(top, "")
        for path in python_files(home / top):
            if "migrations" not in path.parts:
                yield ".".join(path.relative_to(home).with_suffix("").parts).removesuffix(".__init__"), path


def python_files(folder: Path) -> list[Path]:
    """Return the Python files in a folder that belong to the project: those in git, or all without git."""
    if not IN_GIT:
        return sorted(folder.rglob("*.py"))
    return [path for path in tracked() if path.suffix == ".py" and folder in path.parents]


def part_of(module: str) -> str:
    """Return the part a module belongs to: the longest prefix that has a rule, or its two top names."""
    names = module.split(".")
    prefixes = (".".join(names[:length]) for length in range(len(names), 0, -1))
    return next((prefix for prefix in prefixes if prefix in MAY_IMPORT), ".".join(names[:2]))


@functools.cache
def imports(module: str, path: Path) -> tuple[str, ...]:
    """Return the absolute names of our own modules and names that a module imports."""
    return tuple(_imports(module, path))


def _imports(module: str, path: Path) -> Iterator[str]:
    """Yield the absolute names of our own modules and names that a module imports."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] in OURS)
        elif isinstance(node, ast.ImportFrom):
            name = "." * node.level + (node.module or "")
            source = importlib.util.resolve_name(name, package)
            if source.split(".")[0] in OURS:
                yield from (f"{source}.{alias.name}" for alias in node.names)


def test_every_module_belongs_to_a_known_part() -> None:
    known = {*MAY_IMPORT, *JOINING, "server", "server.__main__"}
    assert {part_of(module) for module, _ in modules()} <= known


@pytest.mark.parametrize("part", sorted(MAY_IMPORT))
def test_a_part_imports_only_what_it_may(part: str) -> None:
    found = [(module, path) for module, path in modules() if part_of(module) == part]
    assert found
    wrong = [
        f"{module} imports {name}"
        for module, path in found
        for name in imports(module, path)
        if part_of(name) not in {part, "server.errors", "server.metrics", "server.tracing", *MAY_IMPORT[part]}
    ]
    assert wrong == []


def tracked() -> list[Path]:
    """Return the files that git tracks; a developer's own files, such as clarion.toml, are theirs."""
    if not IN_GIT:
        pytest.skip("needs a git checkout")
    listed = subprocess.run(
        ["git", "ls-files", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout
    return [path for name in listed.decode().split("\0") if name and (path := ROOT / name).is_file()]


def test_no_file_names_a_developers_folder() -> None:
    private = re.compile(r"(?<![\w./~-])/(?:home|root|work|Users)/[\w.]")
    wrong = []
    for path in tracked():
        if path.resolve() == Path(__file__).resolve():
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        wrong += [f"{path.relative_to(ROOT)}: {found[0]}" for found in private.finditer(text)]
    assert wrong == []


@pytest.mark.parametrize("name", LOCKS)
def test_locks_pin_every_requirement_by_hash(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    assert "://" not in text
    assert not re.search(
        r"^\s*(-i|--index-url|--extra-index-url|--find-links|-f|--trusted-host)\b", text, re.M
    )
    entries = re.sub(r"^\s*#.*\n", "", text, flags=re.M).replace("\\\n", " ").splitlines()
    assert entries
    for entry in filter(None, map(str.strip, entries)):
        assert re.match(r"[A-Za-z0-9._-]+(\[[a-z,]+\])?==[\w.+!]+( ;|\s)", entry), entry
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), entry


def test_development_lock_contains_the_lock() -> None:
    run, develop = ({*_pins(ROOT / name)} for name in LOCKS)
    assert run <= develop


def _pins(path: Path) -> list[str]:
    return re.findall(r"^([A-Za-z0-9._-]+==\S+)", path.read_text(encoding="utf-8"), re.M)


def test_generated_code_is_up_to_date(tmp_path: Path) -> None:
    copy = tmp_path / "protos"
    for path in (ROOT / "protos").rglob("*"):
        if path.suffix == ".proto" or path.name == "build.py":
            target = copy / path.relative_to(ROOT / "protos")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
    subprocess.run([sys.executable, copy / "build.py"], cwd=tmp_path, check=True, timeout=60)
    built = [path for path in copy.rglob("*") if "_pb2" in path.name or path.suffix == ".binpb"]
    assert len(built) > 10
    stale = [
        str(path.relative_to(copy))
        for path in built
        if path.read_bytes() != (ROOT / "protos" / path.relative_to(copy)).read_bytes()
    ]
    assert stale == [], "run `make proto`"


def test_client_has_the_servers_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert clarion_client.__version__ == project["version"]


def test_client_needs_a_subset_of_the_servers_packages() -> None:
    client, server = (
        tomllib.loads((ROOT / folder / "pyproject.toml").read_text())["project"]["dependencies"]
        for folder in ("client", ".")
    )
    assert set(client) < set(server)


def test_no_third_party_proto_is_copied() -> None:
    copied = [path for path in tracked() if path.suffix == ".proto" and "clarion" not in path.parts]
    assert copied == []


def test_names_of_tests_are_short() -> None:
    """At most 60 characters, so that a name fits on one line of a report."""
    tests = re.compile(r"^ *(?:async )?def (test_\w+)", re.MULTILINE)
    names = {name for path in python_files(ROOT / "tests") for name in tests.findall(path.read_text())}
    assert len(names) > 1000
    assert not {name for name in names if len(name) > LONGEST_TEST_NAME}


def test_modules_are_short() -> None:
    wrong = {
        str(path.relative_to(ROOT)): lines
        for path in python_files(ROOT)
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > LONGEST_MODULE
    }
    assert wrong == {}, "split them by subject"


def test_no_regex_repeats_a_group_possessively() -> None:
    """Python 3.11.0 to 3.11.4 match such groups wrongly: https://github.com/python/cpython/issues/106052."""
    possessive = re.compile(r"[^\\(]\)[*+?]\+")
    wrong = {
        str(path.relative_to(ROOT)): found[0]
        for part in OURS
        for path in python_files(ROOT / HOMES.get(part, part))
        if (found := possessive.search(path.read_text(encoding="utf-8")))
    }
    assert wrong == {}, "repeat greedily; a character or a class may repeat possessively"
