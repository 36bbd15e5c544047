"""Sessions by OpenID Connect: who gets one, how often, and for how long."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace

import grpc
import msgspec
import pytest

from clarion.admin.v1 import operator_pb2 as pb
from clarion.admin.v1 import operator_pb2_grpc
from server.admin.client import LocalAdmin
from server.admin.errors import RoleMissing, WrongState
from server.admin.oidc.settings import Allow, OidcSettings
from server.admin.oidc.tokens import nonce_of
from server.config import Settings, load
from server.domain.operator import Role
from server.errors import CredentialsInvalid, InvalidRequest
from server.store.pool import Pool
from server.wiring.operators import build_backend, end_lost_sessions
from tests.contract.admin.conftest import Operator
from tests.kit.openid_provider import CLIENT_ID, OpenIdProvider, running_provider
from tests.kit.stack import Stack
from tests.kit.until import until

VERIFIER = "v" * 43
NONCE = nonce_of(VERIFIER)


@pytest.fixture(scope="module")
async def provider() -> AsyncIterator[OpenIdProvider]:
    async with running_provider() as found:
        yield found


def settings(provider: OpenIdProvider, *allow: Allow) -> Settings:
    oidc = OidcSettings(issuer=provider.issuer, client_id=CLIENT_ID, allow=allow)
    return msgspec.structs.replace(load(None, {}), oidc=oidc)


def admin_of(pool: Pool, given: Settings) -> LocalAdmin:
    return LocalAdmin(build_backend(given, pool))


async def create(admin: LocalAdmin, token: str) -> pb.CreateSessionByOidcResponse:
    request = pb.CreateSessionByOidcRequest(id_token=token, nonce_verifier=VERIFIER, user_agent="a browser")
    made: pb.CreateSessionByOidcResponse = await admin.call("sessions", "CreateSessionByOidc", request)
    return made


ADA = Allow(email="ada@example.com", role=Role.OPERATOR, projects=("demo",))
STAFF = Allow(group="staff", role=Role.VIEWER)


async def test_a_person_gets_what_the_allow_list_grants(
    pool: Pool, provider: OpenIdProvider, admin: Operator
) -> None:
    made = await create(admin_of(pool, settings(provider, ADA, STAFF)), provider.token(NONCE))
    session = Operator(admin.http, made.token)
    caller = (await session.call("GET", "/caller")).json()
    assert (caller["kind"], caller["display_name"]) == ("person", "ada@example.com")
    assert uuid.UUID(caller["owner"])
    assert caller["grants"] == [{"role": "operator", "project": "demo"}, {"role": "viewer"}]
    listed = (await admin.call("GET", "/sessions")).json()["sessions"]
    assert made.session.session_id in [one["session_id"] for one in listed]
    event = await pool.fetchrow(
        "SELECT * FROM audit_event WHERE resource = $1", f"session/{made.session.session_id}"
    )
    assert event is not None
    assert (event["action"], event["actor"]) == ("session.create", "ada@example.com")
    assert (await session.call("POST", f"/sessions/{made.session.session_id}:revoke", {})).status_code == 200

    async def is_over() -> bool:
        return (await session.call("GET", "/caller")).status_code == 401

    await until(is_over, "the session has ended")


async def test_others_have_no_access(pool: Pool, provider: OpenIdProvider) -> None:
    admin = admin_of(pool, settings(provider, ADA))
    for claims in (
        {"email": "bob@example.com"},
        {"email_verified": False},
        {"email": None, "preferred_username": "ada@example.com"},
    ):
        with pytest.raises(RoleMissing, match="no access"):
            await create(admin, provider.token(NONCE, **claims))
    elsewhere = Allow(email="ada@example.com", role=Role.ADMIN, projects=("not a project",))
    with pytest.raises(RoleMissing, match="no access"):
        await create(admin_of(pool, settings(provider, elsewhere)), provider.token(NONCE))


async def test_a_token_works_once(pool: Pool, provider: OpenIdProvider) -> None:
    token = provider.token(NONCE)
    results = await asyncio.gather(
        *(create(admin_of(pool, settings(provider, ADA)), token) for _ in range(3)), return_exceptions=True
    )
    assert sum(isinstance(one, CredentialsInvalid) for one in results) == 2, results
    with pytest.raises(CredentialsInvalid, match="used before"):
        await create(admin_of(pool, settings(provider, ADA)), token)


async def test_a_start_ends_what_is_not_granted_any_more(pool: Pool, provider: OpenIdProvider) -> None:
    both = settings(provider, ADA, STAFF)
    made = [await create(admin_of(pool, both), provider.token(NONCE, jti=str(number))) for number in range(2)]

    async def current() -> int:
        found = await admin_of(pool, both).call("sessions", "ListSessions", pb.ListSessionsRequest())
        known = {one.session.session_id for one in made}
        return sum(one.session_id in known for one in found.sessions)

    wider = settings(provider, Allow(email="ada@example.com", role=Role.ADMIN))
    for given, expected in ((both, 2), (wider, 2), (settings(provider, ADA), 0)):
        await end_lost_sessions(build_backend(given, pool))
        assert await current() == expected


async def test_no_start_ends_sessions_of_admin_keys(pool: Pool, viewer: Operator) -> None:
    made = (await viewer.call("POST", "/sessions", {})).json()
    await end_lost_sessions(build_backend(load(None, {}), pool))
    assert (await replace(viewer, secret=made["token"]).call("GET", "/caller")).status_code == 200


async def test_sign_in_needs_a_provider(pool: Pool) -> None:
    with pytest.raises(WrongState, match="No OpenID provider"):
        await create(admin_of(pool, load(None, {})), "a.b.c")


async def test_wrong_requests_are_rejected(pool: Pool, provider: OpenIdProvider) -> None:
    admin = admin_of(pool, settings(provider, ADA))
    for request in (
        pb.CreateSessionByOidcRequest(),
        pb.CreateSessionByOidcRequest(id_token="x" * 16385, nonce_verifier=VERIFIER),
        pb.CreateSessionByOidcRequest(id_token="a.b.c", nonce_verifier="short"),
    ):
        with pytest.raises(InvalidRequest):
            await admin.call("sessions", "CreateSessionByOidc", request)


async def test_only_open_methods_need_no_credentials(stack: Stack) -> None:
    async with grpc.aio.insecure_channel(stack.server_target) as channel:
        sessions = operator_pb2_grpc.SessionServiceStub(channel)
        assert (await sessions.GetSignIn(pb.GetSignInRequest())).issuer == ""
        for call, expected in (
            (sessions.GetCaller(pb.GetCallerRequest()), grpc.StatusCode.UNAUTHENTICATED),
            (sessions.CreateSession(pb.CreateSessionRequest()), grpc.StatusCode.UNAUTHENTICATED),
            (sessions.CreateSessionByOidc(pb.CreateSessionByOidcRequest()), grpc.StatusCode.INVALID_ARGUMENT),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call
            assert caught.value.code() is expected
