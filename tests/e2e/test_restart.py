"""SIGHUP to `clarion up`: every process is another one afterwards, and no caller has noticed."""

from __future__ import annotations

import asyncio
import signal
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import httpx
import psutil
import pytest
import trustme

from clarion.v1 import trigger_pb2 as pb
from clarion.v1 import trigger_pb2_grpc
from tests.kit.commands import clarion
from tests.kit.http_client import http_client
from tests.kit.processes import process_tree
from tests.kit.stack import PORTAL, Stack, free_port, running_stack
from tests.kit.triggers import accepted
from tests.kit.until import until

PAUSE = 0.02  # seconds between two calls of one kind
RESTARTED = "all processes were restarted"


class Load:
    """A steady load of REST and gRPC calls, each on a connection that is kept. A failure is kept too."""

    def __init__(self, stack: Stack, ca: trustme.CA | None = None) -> None:
        self.accepted: set[str] = set()
        self.failures: list[str] = []
        self._stack = stack
        self._ca = ca
        self._ending = asyncio.Event()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with self._rest_client() as rest, self._channel() as channel, asyncio.TaskGroup() as group:
            group.create_task(self._repeat(rest))
            group.create_task(self._repeat(trigger_pb2_grpc.TriggerServiceStub(channel)))
            await until(lambda: len(self.accepted) > 4, "the load is running")
            try:
                yield
            finally:
                self._ending.set()

    async def all_delivered(self) -> None:
        """Return when every accepted trigger is in the outbox."""
        outbox = self._stack.data / "outbox" / "email"
        await until(lambda: self.accepted <= {path.stem for path in outbox.iterdir()}, "all are delivered")

    def _rest_client(self) -> httpx.AsyncClient:
        url = self._stack.url
        trust: ssl.SSLContext | bool = False
        if self._ca:
            trust = httpx.create_ssl_context()
            self._ca.configure_trust(trust)
            url = url.replace("http:", "https:")
        headers = self._stack.headers()
        return http_client(url, headers=headers, verify=trust)

    def _channel(self) -> grpc.aio.Channel:
        if self._ca is None:
            return grpc.aio.insecure_channel(self._stack.target)
        credentials = grpc.ssl_channel_credentials(self._ca.cert_pem.bytes())
        return grpc.aio.secure_channel(self._stack.target, credentials)

    async def _repeat(self, by: httpx.AsyncClient | trigger_pb2_grpc.TriggerServiceStub) -> None:
        while not self._ending.is_set():
            try:
                number = await (accepted(by) if isinstance(by, httpx.AsyncClient) else self._typed(by))
                self.accepted.add(number)
            except (AssertionError, httpx.HTTPError, grpc.aio.AioRpcError) as error:
                self.failures.append(repr(error))
            await asyncio.sleep(PAUSE)

    async def _typed(self, stub: trigger_pb2_grpc.TriggerServiceStub) -> str:
        user = pb.EmailUser(external_id="restart", email="someone@e2e.example")
        request = pb.TriggerEmailRequest(campaign_id=44, user=user)
        answer = await stub.TriggerEmail(request, metadata=self._stack.metadata(), timeout=60)
        return str(answer.trigger_id)


def hang_up(stack: Stack) -> int:
    """Send SIGHUP; return how many lines were said before."""
    assert stack.process is not None
    since = len(stack.output)
    stack.process.send_signal(signal.SIGHUP)
    return since


@pytest.mark.long
async def test_restart_under_load_fails_no_call(tmp_path: Path) -> None:
    ca = trustme.CA()
    with_tls: dict[str, object] = {"gateway": {"tls_certificate": "pair.pem", "tls_key": "pair.key"}}
    stack = Stack(tmp_path, free_port(), {**PORTAL, **with_tls})
    _issue(ca, tmp_path)
    try:
        await stack.start()
        assert any(f"https://127.0.0.1:{stack.port}" in line for line in stack.output)
        before, load = stack.children(), Load(stack, ca)
        async with load.running():
            since = hang_up(stack)
            await stack.until_printed(RESTARTED, since=since)
            await until(
                lambda: "handed over" in stack.log("gateway"),
                lambda: f"a new Envoy takes over:\n{stack.log('gateway')}",
            )
            number = await _by_command(stack)
            await until(lambda: len(load.accepted) > 100, "100 triggers are accepted")
        assert not load.failures
        await load.all_delivered()
        assert (stack.data / "outbox" / "email" / f"{number}.eml").exists()
        after = stack.children()
        same = {role for role in before if before[role].pid == after[role].pid}
        assert same == {"postgres", "gateway"}  # the gateway's runner is the same, its Envoy is not
        await _settings_that_do_not_work_change_nothing(stack)
    finally:
        await stack.stop()


def _issue(ca: trustme.CA, folder: Path) -> None:
    pair = ca.issue_cert("127.0.0.1")
    folder.joinpath("ca.pem").write_bytes(ca.cert_pem.bytes())
    folder.joinpath("pair.pem").write_bytes(b"".join(blob.bytes() for blob in pair.cert_chain_pems))
    folder.joinpath("pair.key").write_bytes(pair.private_key_pem.bytes())


async def _by_command(stack: Stack) -> str:
    """Trigger by `clarion trigger`, and see what it says of a certificate that it cannot trust."""
    words = ("trigger", "44", "--email", "test@test.com")
    refused = await clarion(stack.folder, *words)
    assert "cannot verify the TLS certificate" in refused.err
    assert "--ca-file" in refused.err
    done = await clarion(stack.folder, *words, "--ca-file", "ca.pem")
    assert done.code == 0, done.err
    return done.out.strip()


async def _settings_that_do_not_work_change_nothing(stack: Stack) -> None:
    # Not their children too: the old Envoy and backends of PostgreSQL end on their own meanwhile.
    processes = {role: process.pid for role, process in stack.children().items()}
    stack.config.write_text("[gateway]\nport = 'none'\n")
    since = hang_up(stack)
    line = await stack.until_printed("the restart was abandoned: ", since=since)
    assert "gateway.port" in line
    assert processes == {role: process.pid for role, process in stack.children().items()}


@pytest.mark.long
async def test_stopping_one_of_two_servers_fails_no_call(tmp_path: Path) -> None:
    async with running_stack(tmp_path, {"server": {"processes": 2}}) as stack:
        load = Load(stack)
        async with load.running():
            since = len(stack.output)
            _one_server(stack).terminate()
            await stack.until_printed("server-0 ended: exit code 0", since=since)
            await stack.until_printed("server-0 is ready", since=since)
            wanted = len(load.accepted) + 50
            await until(lambda: len(load.accepted) > wanted, "50 more triggers are accepted")
        assert not load.failures
        await load.all_delivered()


def _one_server(stack: Stack) -> psutil.Process:
    for process in process_tree(stack):
        if process.environ().get("CLARION_SERVER_LISTEN", "").endswith("/server-0.sock"):
            return process
    raise AssertionError("there is no server-0")
