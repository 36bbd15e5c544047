"""An Envoy of one's own with what `clarion gateway print` prints, and Debian's PostgreSQL."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import httpx
import pytest

from server.postgres.run_as_nobody import choose_launch
from tests.kit.commands import CLARION, clarion
from tests.kit.stack import EXAMPLE, free_port
from tests.kit.until import until

pytestmark = pytest.mark.long

POSTGRES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
"""Debian's, each version in its own folder."""
ENVOY = Path(sys.executable).with_name("envoy")


@contextlib.asynccontextmanager
async def running(
    *words: str | Path, env: Mapping[str, str] = os.environ, stop: int = signal.SIGTERM
) -> AsyncIterator[None]:
    process = await asyncio.create_subprocess_exec(*map(str, words), env=env)
    try:
        yield
    finally:
        process.send_signal(stop)
        await process.wait()


@contextlib.asynccontextmanager
async def postgres(folder: Path, programs: Path) -> AsyncIterator[str]:
    """Run a new cluster of an installed PostgreSQL, and return its URL."""
    data, launch = folder / "postgres", choose_launch(programs / "postgres")
    data.mkdir(mode=0o700)
    launch.hand_over(data)
    options = ("--username=clarion", "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C")
    made = await asyncio.create_subprocess_exec(
        *launch.command, programs / "initdb", *options, data, stdout=asyncio.subprocess.DEVNULL
    )
    assert await made.wait() == 0
    port = free_port()
    settings = ("-c", f"port={port}", "-c", "unix_socket_directories=", "-c", "listen_addresses=127.0.0.1")
    server = (programs / "postgres", "-D", data, *settings)
    async with running(*launch.command, *server, stop=signal.SIGINT):
        yield f"postgresql://clarion@127.0.0.1:{port}/postgres"


@pytest.mark.skipif(not POSTGRES, reason="no PostgreSQL of Debian is installed")
@pytest.mark.parametrize("programs", POSTGRES, ids=lambda one: f"PostgreSQL {one.parent.name}")
async def test_own_envoy_and_postgresql(short: Path, programs: Path) -> None:
    async with postgres(short, programs) as url:
        server, gateway = free_port(), free_port()
        settings = {
            "CLARION_DATABASE_URL": url,
            "CLARION_SERVER_LISTEN": f"127.0.0.1:{server}",
            "CLARION_GATEWAY_UPSTREAMS": f"127.0.0.1:{server}",
            "CLARION_GATEWAY_PORT": str(gateway),
            "CLARION_DATA_DIR": str(short / "data"),
        }

        async def command(*words: str) -> str | None:
            done = await clarion(short, *words, **settings)
            return done.out if done.code == 0 else None

        await until(lambda: command("migrate"), "the schema is created")
        (short / "campaigns.yaml").write_text(CAMPAIGN)
        assert await command("campaigns", "apply", "campaigns.yaml")
        key = await command("keys", "create", "--project", "shop", "--name", "orders")
        assert key
        secret = next(word for word in key.split() if word.startswith("sk_"))
        printed = await command("gateway", "print")
        assert printed
        config = short / "envoy.json"
        config.write_text(printed)
        envoy = (ENVOY, "--config-path", config, "--concurrency", "1", "--log-level", "warn")
        async with (
            running(CLARION, "serve", env={**os.environ, **settings}),
            running(CLARION, "dispatch", env={**os.environ, **settings}),
            running(*envoy, "--disable-hot-restart"),
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{gateway}") as http,
        ):
            path, headers = "/api/client/campaigns/44/trigger", {"Authorization": f"Bearer {secret}"}

            async def accepted() -> bool:
                with contextlib.suppress(httpx.TransportError):
                    return (await http.post(path, json=EXAMPLE, headers=headers)).status_code == 204
                return False

            await until(accepted, "the call is accepted")
            outbox = short / "data/outbox/email"
            await until(lambda: list(outbox.glob("*.eml")), "the message is sent")


async def test_gateway_runs_an_envoy_of_ones_own(short: Path) -> None:
    own = short / "envoy"
    own.symlink_to(ENVOY.resolve())
    done = await clarion(short, "gateway", "check", CLARION_GATEWAY_ENVOY=str(own))
    assert (done.code, done.out) == (0, "Envoy accepts the configuration\n"), done.err
    own.unlink()
    own.write_text("#!/bin/sh\necho this is another Envoy >&2; exit 1\n")
    own.chmod(0o755)
    done = await clarion(short, "gateway", "check", CLARION_GATEWAY_ENVOY=str(own))
    assert "this is another Envoy" in done.err
    done = await clarion(short, "gateway", "run", CLARION_GATEWAY_ENVOY=str(short / "none"))
    assert done.code == 2
    assert done.err.endswith("/none' is not a program; name the path of an Envoy\n")


CAMPAIGN = """\
project: shop
campaigns:
  - id: 44
    name: Order
    channel: email
    provider: sandbox
    sender: orders@shop.example
    templates:
      en: {subject: Thank you, text: "Hello"}
"""
