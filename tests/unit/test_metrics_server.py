"""Serving metrics over HTTP: addresses, and a port that another process uses."""

from __future__ import annotations

import asyncio
import re
import socket

import pytest
from structlog.testing import capture_logs

from server.errors import ConfigError
from server.process import metrics_server
from server.process.metrics_server import metrics_served
from tests.kit.http_client import http_client
from tests.kit.prometheus import scraped, scraped_text
from tests.kit.stack import free_port

SETTING = "server.metrics"


@pytest.mark.parametrize(
    "listen", ["9464", ":9464", "127.0.0.1", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:0", "h:65536", "h:-1"]
)
async def test_an_invalid_address_is_a_config_error(listen: str) -> None:
    with pytest.raises(ConfigError, match=rf"server\.metrics: {re.escape(repr(listen))} must be host:port"):
        async with metrics_served("server", listen, SETTING):
            pass


@pytest.mark.parametrize("listen", ["no-such-host.invalid:9464", "192.0.2.1:9464"])
async def test_a_foreign_address_is_a_config_error(listen: str) -> None:
    with pytest.raises(ConfigError, match=rf"server\.metrics: cannot listen on {listen}: "):
        async with metrics_served("server", listen, SETTING):
            pass


async def test_without_an_address_nothing_is_served() -> None:
    async with metrics_served("server", "", SETTING):
        pass


async def test_a_port_in_use_is_waited_for_and_logged_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_server, "_RETRY_SECONDS", 0.01)
    with socket.socket() as holder, capture_logs() as logs:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        listen = f"127.0.0.1:{holder.getsockname()[1]}"
        async with metrics_served("server", listen, SETTING):
            await asyncio.sleep(0.1)
            holder.close()
            assert await scraped(listen)
    warned, served = logs
    assert warned["log_level"] == "warning"
    assert (warned["setting"], warned["listen"]) == (SETTING, listen)
    assert "another process uses the port; stop it, or change the setting" in warned["event"]
    assert served["event"] == "metrics are served"


async def test_a_process_names_its_role_and_version() -> None:
    listen = f"127.0.0.1:{free_port()}"
    async with metrics_served("server", listen, SETTING):
        text = await scraped_text(listen)
    assert re.search(r'^clarion_build_info{role="server",version="[^"]+"} 1.0$', text, re.MULTILINE)
    assert "\nprocess_cpu_seconds_total " in text


async def test_metrics_of_another_program_are_added() -> None:
    listen = f"127.0.0.1:{free_port()}"
    async with metrics_served("server", listen, SETTING, lambda: b"of_another 1\n"):
        assert (await scraped(listen))["of_another"] == 1


async def test_other_paths_are_not_found() -> None:
    listen = f"127.0.0.1:{free_port()}"
    async with metrics_served("server", listen, SETTING), http_client() as client:
        answer = await client.get(f"http://{listen}/")
    assert (answer.status_code, answer.text) == (404, "The metrics are at /metrics.\n")


async def test_the_port_is_free_afterwards() -> None:
    listen = f"127.0.0.1:{free_port()}"
    for _ in range(2):
        async with metrics_served("server", listen, SETTING):
            assert await scraped(listen)
