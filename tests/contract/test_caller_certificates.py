"""Callers whose certificates belong to keys: a gateway with TLS in front of a real server."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from google.protobuf.duration_pb2 import Duration

from clarion.admin.v1 import api_key_pb2 as pb
from clarion.v1 import trigger_pb2, trigger_pb2_grpc
from gateway import running
from server.admin.api_keys import ApiKeyServicer
from server.admin.call import AdminCall
from server.admin.client import LocalAdmin
from server.admin.errors import RoleMissing
from server.config import load
from server.domain.certificate import identity
from server.domain.operator import Actor, ActorKind, Grant, Role
from server.errors import ClarionError
from server.store.admin import projects
from server.store.pool import Pool
from server.wiring.operators import build_backend
from tests.kit.gateway import options_for
from tests.kit.gateway_process import short_folder
from tests.kit.http_client import http_client
from tests.kit.stack import EXAMPLE, Stack
from tests.kit.tls import CA, issue, issue_for, trusting
from tests.kit.until import until

PATH = "/api/client/campaigns/44/trigger"


class World:
    """The gateway's URL, and how to make certificates and keys."""

    def __init__(self, stack: Stack, pool: Pool, folder: Path, port: int) -> None:
        self.stack, self.folder, self.port = stack, folder, port
        self.admin = LocalAdmin(build_backend(load(None, {}), pool))

    def issue(self, *names: x509.GeneralName, **more: Any) -> tuple[str, x509.Certificate]:
        """Issue a certificate; return the name of its files, and itself."""
        name = uuid.uuid4().hex
        return name, issue_for(self.folder, name, *names, **more)

    def client(self, name: str = "") -> httpx.AsyncClient:
        context = trusting()
        if name:
            context.load_cert_chain(self.folder / f"{name}.pem", self.folder / f"{name}.key")
        return http_client(f"https://localhost:{self.port}", verify=context)

    async def status(self, name: str = "", headers: Mapping[str, str] | None = None) -> int:
        return (await self.answer(name, headers)).status_code

    async def answer(self, name: str = "", headers: Mapping[str, str] | None = None) -> httpx.Response:
        async with self.client(name) as client:
            return await client.post(PATH, json=EXAMPLE, headers=headers)

    async def key(self, *certificates: str) -> str:
        """Create a key with certificates, and return its ID."""
        request = pb.CreateApiKeyRequest(
            project="demo", display_name="by certificate", certificates=certificates
        )
        made: pb.CreateApiKeyResponse = await self.admin.call("api_keys", "CreateApiKey", request)
        return made.api_key.key_id

    async def change(self, key_id: str, *certificates: str) -> None:
        """Replace the certificates of a key."""
        request = pb.UpdateApiKeyRequest(key_id=key_id, certificates=certificates)
        request.update_mask.paths.append("certificates")
        await self.admin.call("api_keys", "UpdateApiKey", request)

    async def revoke(self, key_id: str) -> None:
        await self.admin.call("api_keys", "RevokeApiKey", pb.RevokeApiKeyRequest(key_id=key_id))

    async def until_status(self, wanted: int, name: str) -> None:
        async def is_so() -> bool:
            return await self.status(name) == wanted

        await until(is_so, f"the answer {wanted}")


@pytest.fixture(scope="module")
async def behind(stack: Stack, pool: Pool) -> AsyncIterator[World]:
    async with short_folder() as folder:
        issue(folder)
        CA.cert_pem.write_to_path(folder / "ca.pem")
        files = {"tls_certificate": f"{folder}/pair.pem", "tls_key": f"{folder}/pair.key"}
        options = options_for(
            folder, stack.server_target, **files, tls_client_ca=f"{folder}/ca.pem", max_failed_keys=100_000
        )
        async with running(options, workdir=folder):
            yield World(stack, pool, folder, options.port)


def uri(text: str) -> x509.GeneralName:
    return x509.UniformResourceIdentifier(text)


async def test_certificate_replaces_the_secret(behind: World, pool: Pool) -> None:
    spiffe = f"spiffe://example.org/{uuid.uuid4()}"
    name, _ = behind.issue(uri(spiffe))
    refused = await behind.answer(name)
    assert (refused.status_code, refused.json()["details"][0]["reason"]) == (401, "CREDENTIALS_INVALID")
    assert "belongs to no API key that works" in refused.json()["message"]
    key_id = await behind.key(f"uri:{spiffe}")
    await behind.until_status(204, name)
    assert await pool.fetchval("SELECT count(*) FROM trigger WHERE key_id = $1", uuid.UUID(key_id))
    await _grpc(behind, name)
    await behind.revoke(key_id)
    await behind.until_status(401, name)


async def _grpc(behind: World, name: str) -> None:
    files = [(behind.folder / f"{name}.{end}").read_bytes() for end in ("key", "pem")]
    credentials = grpc.ssl_channel_credentials(CA.cert_pem.bytes(), *files)
    async with grpc.aio.secure_channel(f"localhost:{behind.port}", credentials) as channel:
        request = trigger_pb2.TriggerEmailRequest(campaign_id=44)
        request.user.external_id, request.user.email = "u", "test@test.com"
        stub: Any = trigger_pb2_grpc.TriggerServiceStub(channel)
        assert (await stub.TriggerEmail(request, timeout=60)).trigger_id


async def test_dns_names_and_fingerprints_identify_callers(behind: World) -> None:
    dns = f"{uuid.uuid4().hex}.internal"
    by_name, _ = behind.issue(x509.DNSName(dns))
    by_print, certificate = behind.issue(x509.DNSName("any.internal"))
    printed = certificate.fingerprint(hashes.SHA256()).hex(":").upper()
    await behind.key(f"DNS:{dns.upper()}", f"sha256:{printed}")
    await behind.until_status(204, by_name)
    assert await behind.status(by_print) == 204


async def test_bearer_key_comes_before_the_certificate(behind: World) -> None:
    spiffe = f"spiffe://example.org/{uuid.uuid4()}"
    name, _ = behind.issue(uri(spiffe))
    await behind.key(f"uri:{spiffe}")
    await behind.until_status(204, name)
    assert await behind.status(name, {"authorization": f"Bearer sk_{uuid.uuid4()}"}) == 401
    assert await behind.status(name, {"authorization": f"Bearer {behind.stack.key}"}) == 204


async def test_forged_headers_identify_no_one(behind: World) -> None:
    spiffe = f"spiffe://example.org/{uuid.uuid4()}"
    victim, _ = behind.issue(uri(spiffe))
    other, _ = behind.issue(uri("spiffe://example.org/unknown"))
    await behind.key(f"uri:{spiffe}")
    await behind.until_status(204, victim)
    forged = [
        {"x-clarion-certificate": f"uri:{spiffe}"},
        {"X-Clarion-Certificate": f"uri:{spiffe}", "x-forwarded-client-cert": f"URI={spiffe}"},
        {"x_clarion_certificate": f"uri:{spiffe}"},
        {"x-forwarded-client-cert": f"By=x;Hash=y;URI={spiffe}"},
    ]
    for headers in forged:
        assert await behind.status("", headers) == 401
        assert await behind.status(other, headers) == 401


async def test_names_with_commas_are_not_split(behind: World) -> None:
    """An authority that does not check names cannot be used to pass for another caller."""
    spiffe = f"spiffe://example.org/{uuid.uuid4()}"
    victim, _ = behind.issue(uri(spiffe))
    await behind.key(f"uri:{spiffe}")
    await behind.until_status(204, victim)
    for trick in (f"x:y,uri:{spiffe}", f"{spiffe},x", f"uri:{spiffe}"):
        name, _ = behind.issue(uri(trick))
        assert await behind.status(name) == 401


async def test_certificate_belongs_to_one_key(behind: World) -> None:
    spiffe = f"uri:spiffe://example.org/{uuid.uuid4()}"
    first = await behind.key(spiffe)
    with pytest.raises(ClarionError, match=f"belongs to key {first}; remove it there first, or revoke that"):
        await behind.key(spiffe)
    await behind.revoke(first)
    assert await behind.key(spiffe) != first


async def test_rotation_moves_the_certificate_to_the_successor(behind: World) -> None:
    spiffe = f"spiffe://example.org/{uuid.uuid4()}"
    name, _ = behind.issue(uri(spiffe))
    key_id = await behind.key(f"uri:{spiffe}")
    await behind.until_status(204, name)
    request = pb.RotateApiKeyRequest(key_id=key_id, overlap=Duration(seconds=0))
    made = await behind.admin.call("api_keys", "RotateApiKey", request)
    assert made.api_key.certificates == [f"uri:{spiffe}"]
    assert not made.previous_key.certificates
    assert await behind.status(name) == 204


async def test_certificates_are_replaced_and_removed(behind: World) -> None:
    first, second = (f"spiffe://example.org/{uuid.uuid4()}" for _ in range(2))
    one, two = (behind.issue(uri(text))[0] for text in (first, second))
    key_id = await behind.key(f"uri:{first}")
    await behind.until_status(204, one)
    await behind.change(key_id, f"uri:{second}")
    await behind.until_status(204, two)
    assert await behind.status(one) == 401
    await behind.change(key_id)
    await behind.until_status(401, two)
    with pytest.raises(ClarionError, match="must be uri:URI, dns:NAME or sha256:FINGERPRINT"):
        await behind.change(key_id, "shop.internal")


async def test_command_line_sets_and_shows_certificates(behind: World) -> None:
    spiffe = f"uri:spiffe://example.org/{uuid.uuid4()}"
    words = ("keys", "create", "--project", "demo", "--name", "x", "--certificate", spiffe, "--json")
    _, out, _ = await behind.stack.run(*words)
    made = json.loads(out)
    assert made["certificates"] == [spiffe]
    code, out, _ = await behind.stack.run("keys", "update", made["key_id"], "--no-certificates", "--json")
    assert (code, json.loads(out).get("certificates", [])) == (0, [])


async def test_attaching_needs_the_role_for_all_projects(behind: World, pool: Pool) -> None:
    """Otherwise an admin of one project could take over the calls of another one."""
    project = await projects.ensure_project(pool, "demo")
    grants = Actor(ActorKind.PERSON, "one", (Grant(Role.ADMIN, project),))
    call = AdminCall(grants, Role.ADMIN, "here", "1")
    servicer = ApiKeyServicer(pool)
    request = pb.CreateApiKeyRequest(project="demo", display_name="x", certificates=["dns:victim.internal"])
    with pytest.raises(RoleMissing, match="for all projects"):
        await servicer.CreateApiKey(request, call)
    request.ClearField("certificates")
    assert (await servicer.CreateApiKey(request, call)).secret


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("URI:spiffe://a/B", "uri:spiffe://a/B"),
        ("dns:*.Example.org", "dns:*.example.org"),
        ("sha256:" + "AB" * 32, "sha256:" + "ab" * 32),
    ],
)
def test_identities_have_one_form(text: str, stored: str) -> None:
    assert identity(text) == stored
    assert identity(stored) == stored


@pytest.mark.parametrize(
    "text",
    ["", "shop", "dns:", "dns:a,b", "dns:a b", "uri:no-scheme", "uri:a://b,c", "uri:a://\x00", "sha256:ab"],
)
def test_other_texts_are_no_identities(text: str) -> None:
    with pytest.raises(ValueError, match=r"must be uri:|64 hexadecimal"):
        identity(text)
