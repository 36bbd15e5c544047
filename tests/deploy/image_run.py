"""Runs the image's root file system as a container engine would: `image_run.py ROOT IMAGE`.

`tools/image_root.sh` starts it as root in its own namespaces, with the image's folder and its description by
`buildah inspect`. The root file system is read-only, user and environment are the image's, and processes
cannot gain privileges. The processes that serve run without a shell.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

PATIENCE = 180.0
"""Seconds to wait for what a process should do: a busy machine takes long."""
WRITABLE = ("tmp", "dev/shm", "var/lib/clarion")
SHELLS = ("usr/bin/sh", "usr/bin/dash", "usr/bin/bash")
DATABASE = "postgresql://clarion@/clarion?host=/var/lib/clarion/data/run"
"""The embedded database of `clarion up`, by its Unix socket."""
BODY = b'{"user": {"external_id": "u-1", "email": "test@test.com"}, "event": {}}'


class Image:
    """The image's root file system, and how its processes start."""

    def __init__(self, root: Path, config: Mapping[str, Any]) -> None:
        """Read the configuration that the image was built with."""
        self.root = root
        self.user: str = config["User"]
        self.entrypoint: list[str] = config["Entrypoint"]
        self.health: list[str] = config["Healthcheck"]["Test"]
        self.environment: dict[str, str] = dict(one.split("=", 1) for one in config["Env"])

    def mount(self) -> None:
        """Make the root read-only, except for the folders that a container engine provides as tmpfs."""
        subprocess.run(["mount", "--make-rprivate", "/"], check=True)
        subprocess.run(["mount", "--bind", self.root, self.root], check=True)
        for name in ("proc", "dev/shm"):
            (self.root / name).mkdir(parents=True, exist_ok=True)
        for device in ("null", "zero", "random", "urandom"):
            (self.root / "dev" / device).touch()
        subprocess.run(["mount", "-o", "remount,bind,ro", self.root], check=True)
        subprocess.run(["mount", "-t", "proc", "proc", self.root / "proc"], check=True)
        for device in ("null", "zero", "random", "urandom"):
            subprocess.run(["mount", "--bind", f"/dev/{device}", self.root / "dev" / device], check=True)
        for name in WRITABLE:
            owner = "mode=1777" if name != "var/lib/clarion" else "mode=700,uid=65532,gid=65532"
            subprocess.run(["mount", "-t", "tmpfs", "-o", owner, "tmpfs", self.root / name], check=True)

    def hide_shells(self) -> None:
        """Make it impossible to start a shell."""
        for name in SHELLS:
            if (self.root / name).exists():
                subprocess.run(["mount", "--bind", "/dev/null", (self.root / name).resolve()], check=True)

    def command(self, words: Sequence[str], settings: Mapping[str, str]) -> list[str]:
        """Return the command that starts a program of the image as its user."""
        variables = {**self.environment, **settings}
        user, group = self.user.split(":")
        return [
            *("chroot", str(self.root), "/usr/bin/setpriv", f"--reuid={user}", f"--regid={group}"),
            *("--clear-groups", "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all", "--"),
            *("/usr/bin/env", "-i", "-C", "/var/lib/clarion"),
            *(f"{name}={value}" for name, value in variables.items()),
            *words,
        ]

    def run(self, *arguments: str, **settings: str) -> str:
        """Run a command of `clarion` and return its output."""
        return self.execute([*self.entrypoint, *arguments], settings)

    def execute(self, words: Sequence[str], settings: Mapping[str, str]) -> str:
        """Run a program of the image and return its output."""
        done = subprocess.run(
            self.command(words, settings), capture_output=True, text=True, check=False, timeout=PATIENCE
        )
        if done.returncode:
            raise AssertionError(
                f"{' '.join(words)}: exit code {done.returncode}: {done.stdout}{done.stderr}"
            )
        return done.stdout

    def is_healthy(self, **settings: str) -> bool:
        """Run the image's HEALTHCHECK."""
        kind, *words = self.health
        assert kind == "CMD", "a health check that needs a shell"
        with contextlib.suppress(AssertionError):
            self.execute(words, settings)
            return True
        return False

    @contextlib.contextmanager
    def running(self, *arguments: str, **settings: str) -> Iterator[subprocess.Popen[bytes]]:
        """Run a process for the block, then end it by SIGTERM, and require that it ends well.

        The portal's HTTP server passes the signal on to itself once it has finished.
        """
        words = self.command([*self.entrypoint, *arguments], settings)
        with subprocess.Popen(words, stdout=subprocess.DEVNULL) as process:
            try:
                yield process
            finally:
                process.terminate()
                code = process.wait(PATIENCE)
            assert code in {0, -signal.SIGTERM}, f"{arguments}: exit code {code} after SIGTERM"


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait until a function returns something true."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, f"not within {PATIENCE:g} s: {what}"
        time.sleep(0.2)
    print(f"   {what}", flush=True)


def status(url: str, key: str = "", body: bytes | None = None) -> int:
    """Return the status of a request; 0 without an answer."""
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    request = urllib.request.Request(url, data=body, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def messages(image: Image) -> int:
    """Return how many emails the sandbox has written."""
    return len(list((image.root / "var/lib/clarion/data/outbox/email").glob("*.eml")))


def check_all_in_one(image: Image) -> Iterator[str]:
    """Run `clarion up --demo`; yield its API key while it runs."""
    with image.running("up", "--demo", CLARION_GATEWAY_PORT="8180"):
        until(lambda: image.is_healthy(CLARION_GATEWAY_PORT="8180"), "`clarion up --demo` is healthy")
        key = (image.root / "var/lib/clarion/data/demo-key").read_text().strip()
        url = "http://127.0.0.1:8180/api/client/campaigns/44/trigger"
        until(lambda: status(url, key, BODY) == 204, "it accepts a trigger with 204")
        until(lambda: messages(image) > 0, "the message is in the outbox")
        yield key


def check_apart(image: Image, key: str) -> None:
    """Run each process on its own, without a shell, next to the database of `clarion up`."""
    ports = {"CLARION_SERVER_LISTEN": "0.0.0.0:8181", "CLARION_PORTAL_LISTEN": "0.0.0.0:8182"}
    settings = {
        **ports,
        "CLARION_DATABASE_URL": DATABASE,
        "CLARION_DISPATCH_METRICS": "127.0.0.1:9565",
        "CLARION_GATEWAY_PORT": "8183",
        "CLARION_GATEWAY_UPSTREAMS": "127.0.0.1:8181",
        "CLARION_GATEWAY_PORTAL": "127.0.0.1:8182",
        "CLARION_PORTAL_SERVERS": "127.0.0.1:8181",
    }
    image.hide_shells()
    print(f"   migrate: {image.run('migrate', **settings).strip()}")
    url = "http://127.0.0.1:8183/api/client/campaigns/44/trigger"
    with contextlib.ExitStack() as stack:
        for words in (("serve",), ("dispatch",), ("portal",), ("gateway", "run")):
            stack.enter_context(image.running(*words, **settings))
        for name in ("server", "dispatcher", "portal", "gateway"):
            until(partial(is_ready, image, name, settings), f"{name} is ready")
        sent = messages(image)
        until(
            lambda: status(url, key, BODY) == 204, "the gateway accepts a trigger with 204, without a shell"
        )
        until(lambda: messages(image) > sent, "its message is in the outbox")
        until(
            lambda: status("http://127.0.0.1:8183/portal/") == 200, "the portal answers through the gateway"
        )
        for written in ("/etc/x", "/opt/clarion/x", "/x"):
            check_refused(image, written)
    print("   all processes ended well on SIGTERM")
    assert not image.is_healthy(**settings, CLARION_SERVER_PROCESSES="1"), "HEALTHCHECK succeeds with nothing"
    print("   HEALTHCHECK fails where nothing runs")


def is_ready(image: Image, name: str, settings: Mapping[str, str]) -> bool:
    """Return whether `clarion health NAME` succeeds."""
    with contextlib.suppress(AssertionError):
        image.run("health", name, **settings)
        return True
    return False


def check_refused(image: Image, path: str) -> None:
    """Check that the image's user cannot write a file."""
    words = image.command(["/usr/bin/touch", path], {})
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert "Read-only file system" in done.stderr, done.stderr
    print(f"   {path}: read-only")


def main(root: str, inspected: str) -> None:
    """Run all checks."""
    described = json.loads(Path(inspected).read_text(encoding="utf-8"))
    image = Image(Path(root), described["Docker"]["config"])
    assert image.user == "65532:65532", image.user
    image.mount()
    os.environ.clear()
    os.environ["PATH"] = "/usr/sbin:/usr/bin:/sbin:/bin"
    print(f"   {image.run('--version').strip()}, user {image.user}")
    for key in check_all_in_one(image):
        check_apart(image, key)
    print("image: all checks passed")


if __name__ == "__main__":
    main(*sys.argv[1:])
