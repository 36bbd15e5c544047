"""Renewed certificates apply without a restart, and invalid ones change nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import trustme

from gateway import GatewaySettings, running
from gateway.config.tls import SECRET_FILE
from gateway.run.tls import tls_of
from tests.kit import toy_upstream
from tests.kit.gateway_process import TOY, short_folder, trigger
from tests.kit.http_client import http_client
from tests.kit.tls import CA, issue, serial_of, shown, tls, trusting, write
from tests.kit.until import until


async def test_new_certificate_applies_to_new_connections() -> None:
    async with short_folder() as folder, toy_upstream.running(f"unix:{folder / TOY}"):
        issue(folder)
        options, said = tls(folder), list[str]()
        async with (
            running(options, workdir=folder, notify=said.append) as gateway,
            http_client(f"https://localhost:{options.port}", verify=trusting()) as client,
        ):
            pid, asking = gateway.pid, _Asking(client)
            new = issue(folder)
            await until(lambda: _shows(options, new), lambda: f"the new certificate; {said}")
            assert await asking.stop() > 0
            assert gateway.pid == pid
            assert any("was renewed" in line for line in said)
            assert asking.connections == 1


async def _shows(options: GatewaySettings, pair: trustme.LeafCert) -> bool:
    return await shown(options) == serial_of(pair)


class _Asking:
    """Keeps triggering on one connection; every answer must be a 204."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client
        self._streams: set[int] = set()
        self._stop = asyncio.Event()
        self._task = asyncio.create_task(self._run())

    @property
    def connections(self) -> int:
        return len(self._streams)

    async def stop(self) -> int:
        self._stop.set()
        return await self._task

    async def _run(self) -> int:
        answered = 0
        while not self._stop.is_set():
            answer = await trigger(self._client)
            assert answer.status_code == 204
            self._streams.add(answer.extensions["network_stream"].get_extra_info("client_addr")[1])
            answered += 1
            await asyncio.sleep(0.01)  # leave the processors to Envoy
        return answered


async def test_changed_symbolic_link_reloads_the_certificate() -> None:
    async with short_folder() as folder:
        for version in ("1", "2"):
            (folder / version).mkdir()
        issue(folder / "1")
        second = issue(folder / "2")
        (folder / "now").symlink_to("1")  # as Kubernetes does: files → now → version
        for end in ("pem", "key"):
            (folder / f"pair.{end}").symlink_to(f"now/pair.{end}")
        options = tls(folder)
        async with running(options, workdir=folder):
            (folder / "next").symlink_to("2")
            (folder / "next").rename(folder / "now")
            await until(lambda: _shows(options, second), "the second certificate")


async def test_mismatched_pair_keeps_the_old_certificate() -> None:
    async with short_folder() as folder:
        first, second = issue(folder), CA.issue_cert("localhost")
        options, said = tls(folder), list[str]()
        async with running(options, workdir=folder, notify=said.append):
            (folder / "pair.key").write_bytes(second.private_key_pem.bytes())
            await until(lambda: said, "a message")
            assert "the TLS certificate stays as it was: tls_key: " in said[0]
            assert "does not match" in said[0]
            assert await shown(options) == serial_of(first)
            write(second, folder)  # the other half
            await until(lambda: _shows(options, second), lambda: f"the second certificate; {said}")


async def test_failed_write_is_retried_at_the_next_change(
    tmp_path: Path,
) -> None:
    issue(tmp_path)
    [pair], said, missing = tls_of(tls(tmp_path)), list[str](), tmp_path / "missing"
    watching = asyncio.create_task(pair.watch(missing, (), said.append))
    try:
        await until(lambda: said, "a message")
        assert "the TLS certificate stays as it was: " in said[0]
        missing.mkdir()
        issue(tmp_path)
        await until((missing / SECRET_FILE).exists, lambda: f"the file for Envoy; {said}")
    finally:
        watching.cancel()
