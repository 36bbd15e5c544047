"""The Containerfile, and what builds and describes the image. `make image-root` runs it."""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest

from server.cli import GROUPS
from server.config import Settings, load
from tests.kit.commands import run_program

ROOT = Path(__file__).parents[2]
CONTAINERFILE = ROOT / "deploy/Containerfile"
LOCKED = re.compile(r"^([a-z0-9-]+)==(\S+)", re.MULTILINE)


def final_stage() -> Mapping[str, str]:
    """Return the last instruction of each kind in the image's own stage."""
    text = re.sub(r"\\\n", " ", CONTAINERFILE.read_text(encoding="utf-8"))
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    start = max(number for number, line in enumerate(lines) if line.startswith("FROM "))
    return {kind: rest for kind, _, rest in (line.partition(" ") for line in lines[start:])}


def test_image_runs_without_root_and_shell() -> None:
    image = final_stage()
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", image["USER"])
    assert json.loads(image["ENTRYPOINT"]) == ["clarion"]
    health = json.loads(image["HEALTHCHECK"].partition(" CMD ")[2])
    assert health[0] == "clarion"
    assert health[1] in GROUPS


def test_image_sets_valid_settings() -> None:
    variables = dict(word.split("=", 1) for word in shlex.split(final_stage()["ENV"]))
    settings = load(None, variables)
    hosts = {settings.gateway.host, *(one.rpartition(":")[0] for one in addresses(settings))}
    assert hosts == {"0.0.0.0"}  # noqa: S104 - which is what the image sets
    ports = {str(settings.gateway.port), *(one.rpartition(":")[2] for one in addresses(settings))}
    assert ports == set(final_stage()["EXPOSE"].split())


def test_image_contains_what_sends_spans() -> None:
    assert '"$1[otel]"' in CONTAINERFILE.read_text(encoding="utf-8")
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    locked = dict(LOCKED.findall((ROOT / "requirements.lock").read_text()))
    assert {re.split("[>=]", one)[0] for one in extras["otel"]} <= locked.keys()


def addresses(settings: Settings) -> tuple[str, ...]:
    return settings.server.listen, settings.portal.listen, settings.dispatch.metrics


async def test_image_needs_an_engine(tmp_path: Path) -> None:
    """Without one that works, `make image` prints one line."""
    for program in ("bash", "dirname", "env"):
        (tmp_path / program).symlink_to(f"/usr/bin/{program}")
    broken = tmp_path / "docker"
    broken.write_text("#!/bin/bash\nexit 1\n")
    broken.chmod(0o755)
    done = await run_program(ROOT / "tools/image.sh", folder=ROOT, env={"PATH": str(tmp_path)})
    assert done.code == 2
    assert done.err == "make image needs podman, buildah or docker, and none of them works here\n"


@pytest.mark.long
async def test_containerfile_passes_hadolint(ship: Path) -> None:
    done = await run_program(ship / "hadolint", CONTAINERFILE, folder=ROOT, env=dict(os.environ))
    assert (done.code, done.out) == (0, "")


@pytest.mark.long
async def test_every_package_exists_for_both_platforms(tmp_path: Path) -> None:
    """The image is for amd64 and arm64, with the Python of Debian 13."""
    pip: list[str | Path] = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--dry-run",
        "--quiet",
        "--target",
        tmp_path,
    ]
    exact = ["--no-deps", "--require-hashes", "--only-binary=:all:", "--python-version", "3.13"]
    for machine in ("x86_64", "aarch64"):
        tags = [f"manylinux_2_{minor}_{machine}" for minor in range(5, 42)]  # 2.41 is Debian 13's glibc
        platforms = [f"--platform={tag}" for tag in (*tags, f"manylinux2014_{machine}")]
        command = (*pip, *exact, *platforms, "-r", ROOT / "requirements.lock")
        done = await run_program(*command, folder=tmp_path, env=dict(os.environ), seconds=600)
        assert done.code == 0, f"{machine}: {done.err}"


@pytest.mark.long
@pytest.mark.usefixtures("ship")
async def test_bill_of_materials_lists_what_is_shipped(tmp_path: Path) -> None:
    file = tmp_path / "bom.json"
    script = (sys.executable, ROOT / "tools/sbom.py", file)
    done = await run_program(*script, folder=ROOT, env=dict(os.environ))
    assert done.code == 0, done.err
    document = json.loads(file.read_text())
    assert document["bomFormat"] == "CycloneDX"
    listed = {(one["name"], one["version"]) for one in document["components"]}
    assert set(LOCKED.findall((ROOT / "requirements.lock").read_text())) <= listed
    assert {name for name, _ in listed} >= {"envoy", "postgresql"}
