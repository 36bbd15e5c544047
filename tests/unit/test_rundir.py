from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from server.errors import ConfigError
from server.up.data_folder import LONGEST_SOCKET_PATH, RunDir, sockets_folder


def test_the_folder_is_made_for_its_owner_alone(short: Path) -> None:
    with RunDir(short / "deep" / "data") as run:
        assert stat.S_IMODE(run.data.stat().st_mode) == 0o700
        assert stat.S_IMODE(run.sockets.stat().st_mode) == 0o700
        assert run.sockets == run.data / "run"


def test_second_process_learns_the_holder_of_the_folder(short: Path) -> None:
    with RunDir(short):
        second = "import sys, pathlib, server.up.data_folder as r; r.RunDir(pathlib.Path(sys.argv[1]))"
        done = subprocess.run(
            [sys.executable, "-c", second, short], capture_output=True, text=True, check=False, timeout=120
        )
    assert f"already running in {short} (process {os.getpid()})" in done.stderr
    RunDir(short).close()


def test_closed_folder_can_be_opened_again(short: Path) -> None:
    run = RunDir(short)
    run.close()
    run.close()
    assert not run.sockets.exists()
    RunDir(short).close()


@pytest.mark.parametrize("name", ["d" * 200, "with space", "with,comma", 'with"quote', "with%percent", "é"])
def test_a_long_or_odd_path_gets_a_short_plain_folder(short: Path, name: str) -> None:
    with RunDir(short / name) as run:
        longest = run.socket(".s.PGSQL.5432.lock")
        assert len(os.fsencode(longest)) <= LONGEST_SOCKET_PATH
        assert not run.sockets.is_relative_to(run.data)
        assert stat.S_IMODE(run.sockets.stat().st_mode) == 0o700
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(longest))
    assert not run.sockets.exists()


def test_other_command_finds_the_same_sockets(short: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(short)
    for name in ("data", "d" * 60):
        with RunDir(short / name) as run:
            assert sockets_folder(Path(name)) == run.sockets
    with pytest.raises(ConfigError, match="cannot read the data folder"):
        sockets_folder(short / "nowhere")


def test_two_long_paths_get_two_folders(short: Path) -> None:
    with RunDir(short / ("a" * 200)) as one, RunDir(short / ("b" * 200)) as other:
        assert one.sockets != other.sockets


def test_a_long_temp_folder_is_passed_over(short: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(short / ("t" * 200)))
    with RunDir(short / ("d" * 200)) as run:
        assert run.sockets.parent == Path("/tmp")  # noqa: S108 -- the fallback itself


def test_sockets_of_a_killed_run_are_removed(short: Path) -> None:
    stale = short / "run" / "envoy-admin.sock"
    RunDir(short).close()
    stale.parent.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(stale))
    stale.with_name(".s.PGSQL.5432.lock").write_text("1\n")
    with RunDir(short) as run:
        assert list(run.sockets.iterdir()) == []


@pytest.mark.parametrize("trap", ["link", "open", "file"])
def test_a_sockets_folder_that_others_could_reach_is_refused(short: Path, trap: str) -> None:
    data = short / ("d" * 200)
    with RunDir(data) as run:
        sockets = run.sockets
    try:
        _set_trap(sockets, trap, short)
        with pytest.raises(ConfigError, match=str(sockets)):
            RunDir(data)
    finally:
        sockets.rmdir() if trap == "open" else sockets.unlink()
    RunDir(data).close()


def _set_trap(sockets: Path, trap: str, elsewhere: Path) -> None:
    if trap == "link":
        sockets.symlink_to(elsewhere)
    elif trap == "open":
        sockets.mkdir()
        sockets.chmod(0o755)
    else:
        sockets.write_text("")


def test_a_file_in_the_folders_place_is_one_clear_line(short: Path) -> None:
    (short / "file").write_text("")
    for data in (short / "file", short / "file" / "data"):
        with pytest.raises(ConfigError, match="cannot write to the data folder") as caught:
            RunDir(data)
        assert "\n" not in str(caught.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root can write everywhere")
def test_an_unwritable_folder_is_one_clear_line(short: Path) -> None:
    short.chmod(0o500)
    try:
        with pytest.raises(ConfigError, match=r"cannot write to the data folder .*: Permission denied"):
            RunDir(short)
    finally:
        short.chmod(0o700)
