"""The Compose file: it follows the specification's schema, and its processes find each other."""

from __future__ import annotations

import os
import re
import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from server.config import Settings, load
from tests.deploy.conftest import ROOT
from tests.kit.commands import run_program

FOLDER = ROOT / "deploy"
FILE = FOLDER / "compose.yaml"
COMPOSE: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: one for name, one in SERVICES.items() if "CLARION_IMAGE" in one["image"]}
ENVIRONMENT = dict(re.findall(r"(CLARION_\w+)=(\S+)", (FOLDER / "Containerfile").read_text(encoding="utf-8")))


def settings_of(name: str) -> Settings:
    """Return the settings of a service: those of the image, and its own."""
    own = {key: value for key, value in OURS[name]["environment"].items() if key.startswith("CLARION_")}
    return load(None, {**ENVIRONMENT, **own})


@pytest.mark.long
async def test_compose_file_follows_the_specification(ship: Path) -> None:
    command = (ship / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", FILE)
    done = await run_program(*command, folder=FOLDER, env={**os.environ})
    assert done.code == 0, done.out


def test_processes_find_each_other() -> None:
    listen = {name: settings_of(name) for name in OURS}
    for address in (*listen["gateway"].gateway.upstreams, *listen["portal"].portal.servers):
        host, _, port = address.partition(":")
        assert listen[host].server.listen == f"0.0.0.0:{port}"
        assert OURS[host]["command"] == ["serve"]
    host, _, port = listen["gateway"].gateway.portal.partition(":")
    assert listen[host].portal.listen == f"0.0.0.0:{port}"


def test_every_process_gets_the_variables_of_traces() -> None:
    assert all({"path": "otel.env", "required": False} in one["env_file"] for one in OURS.values())


def test_stop_times_cover_the_settings() -> None:
    for name, one in OURS.items():
        found = settings_of(name)
        needed = {
            "serve": found.server.lame_duck + found.server.shutdown_grace,
            "dispatch": found.dispatch.shutdown_grace,
            "gateway": found.gateway.drain_grace + found.gateway.drain_timeout,
        }.get(one["command"][0], 0)
        assert float(one.get("stop_grace_period", "10s").removesuffix("s")) >= needed, name


def test_every_process_is_locked_down() -> None:
    assert len(OURS) == 7
    for one in OURS.values():
        assert one["read_only"]
        assert one["cap_drop"] == ["ALL"]


def test_prometheus_scrapes_every_process() -> None:
    scraped = yaml.safe_load((FOLDER / "prometheus.yaml").read_text(encoding="utf-8"))
    [job] = scraped["scrape_configs"]
    targets = {target for group in job["static_configs"] for target in group["targets"]}
    expected = set()
    for name in OURS:
        found = settings_of(name)
        own = {
            "serve": found.server.metrics,
            "dispatch": found.dispatch.metrics,
            "portal": found.portal.metrics,
            "gateway": found.gateway.metrics,
        }.get(OURS[name]["command"][0], "")
        if own:
            expected.add(f"{name}:{own.rpartition(':')[2]}")
    assert targets == expected
    assert len(targets) == 6


def test_default_image_is_that_of_this_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert {one["image"] for one in OURS.values()} == {f"${{CLARION_IMAGE:-clarion:{project['version']}}}"}


def test_mounted_files_exist() -> None:
    mounts = [one.split(":")[0] for service in SERVICES.values() for one in service.get("volumes", ())]
    for mount in mounts:
        assert (FOLDER / mount).exists() if mount.startswith(".") else mount in COMPOSE["volumes"], mount


@pytest.mark.skipif(not shutil.which("docker-compose"), reason="docker-compose is not installed")
async def test_missing_password_is_named(tmp_path: Path) -> None:
    shutil.copy(FILE, tmp_path)
    done = await run_program("docker-compose", "config", folder=tmp_path, env={**os.environ})
    assert done.code != 0
    assert "set POSTGRES_PASSWORD in the file .env" in done.out + done.err
