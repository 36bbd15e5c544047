"""Setting up `.venv` in a copy of the few files that it needs, without downloads."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WITHOUT_VENV = """
import sys, runpy
sys.modules.pop("ensurepip", None)
import importlib.util
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == "ensurepip" else find(name, *rest)
runpy.run_path(sys.argv.pop(1), run_name="__main__")
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a folder with the script, empty locks and a package to install."""
    made = tmp_path / "project"
    (made / "tools").mkdir(parents=True)
    shutil.copy(ROOT / "tools" / "make_venv.py", made / "tools")
    (made / "requirements.lock").write_text("")
    (made / "requirements-dev.lock").write_text("")
    (made / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["tools"]\n'
    )
    (made / "tools" / "backend.py").write_text(BACKEND)
    return made


BACKEND = """
import zipfile
def build_editable(folder, *_):
    name = "scratch-1-py3-none-any.whl"
    with zipfile.ZipFile(f"{folder}/{name}", "w") as file:
        info = "scratch-1.dist-info/"
        file.writestr(info + "METADATA", "Metadata-Version: 2.1\\nName: scratch\\nVersion: 1\\n")
        file.writestr(info + "WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        file.writestr(info + "RECORD", "")
    return name
"""


def command(project: Path) -> list[str]:
    return [sys.executable, str(project / "tools" / "make_venv.py"), "--dev"]


def run(project: Path) -> str:
    done = subprocess.run(command(project), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (project / ".venv" / "ready-dev").exists()
    return done.stdout


@pytest.mark.long
def test_set_up_reports_its_cost_and_runs_once(project: Path) -> None:
    report = run(project)
    assert ".venv is missing: making it" in report
    assert "packages from requirements.lock: about " in report
    assert run(project) == ""
    (project / ".venv" / "ready").unlink()  # interrupted in pip
    assert "packages from requirements.lock" in run(project)


@pytest.mark.long
def test_a_moved_folder_is_set_up_again(project: Path) -> None:
    bare_environment(project)
    moved = project.rename(project.with_name("moved"))
    assert ".venv was made in another folder: making it" in run(moved)


@pytest.mark.long
def test_two_set_ups_at_once_repair_an_interrupted_one(project: Path) -> None:
    bare_environment(project)
    both = [subprocess.Popen(command(project), stdout=subprocess.PIPE, text=True) for _ in range(2)]
    reports = "".join(process.communicate()[0] for process in both)
    assert [process.returncode for process in both] == [0, 0]
    assert reports.count(".venv is incomplete or its Python was removed: making it") == 1
    assert reports.count("packages from requirements.lock") == 1


def bare_environment(project: Path) -> None:
    """Make what is left when set-up was interrupted: an environment without pip."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", project / ".venv"], check=True)


def test_a_missing_debian_package_is_named(project: Path) -> None:
    script = command(project)[1]
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_VENV, script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    version = "{}.{}".format(*sys.version_info)
    assert done.stderr.count("\n") == 1
    assert done.stderr.endswith(f"on Debian: sudo apt install python{version}-venv\n")
    assert not (project / ".venv").exists()
