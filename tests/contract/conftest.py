"""One running product for all contract tests of a worker, with keys of every kind."""

from __future__ import annotations

import contextlib
import datetime as dt
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import httpx
import pytest

from clarion.v1 import trigger_pb2_grpc
from server.domain.campaign import Campaign, CampaignState, Channel, Template
from server.domain.key import Scope, new_secret
from server.store.admin import campaigns, keys, projects
from server.store.pool import Pool
from tests.kit.apns_provider import KEY, ApnsProviders, pem
from tests.kit.apns_server import KEY_ID
from tests.kit.fcm_api import Google
from tests.kit.fcm_provider import FcmProviders, fcm_providers
from tests.kit.stack import PORTAL, Stack, client, running_stack

OTHERS_CAMPAIGN = 901
PAUSED_CAMPAIGN = 902
LEASE = 5.5
"""Seconds after which another dispatcher claims again: longer than the sandbox may take, which is 5."""
HERE = Path(__file__).parent
GROUPS = {"stack": "contract", "breakable": "breakable", "pair": "pair", "troubled": "troubled"}
"""The group of the tests that use a fixture."""


@pytest.hookimpl(tryfirst=True)  # or xdist has named the groups already, where paths are given
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the tests that share a stack on one worker, so that it starts once."""
    for item in items:
        if HERE in item.path.parents:
            for fixture in GROUPS.keys() & set(getattr(item, "fixturenames", ())):
                item.add_marker(pytest.mark.xdist_group(GROUPS[fixture]))


@dataclass
class Keys:
    """A secret of every kind."""

    good: str
    without_scope: str
    of_another_project: str
    held_to_45: str
    expired: str
    revoked: str
    unknown: str
    reads: str
    reads_of_another_project: str


@pytest.fixture(scope="session")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    # Tests call with wrong keys as fast as they can; test_strangers.py has a gateway with a limit.
    settings: dict[str, object] = {**PORTAL, "gateway": {"max_failed_keys": 100_000}}
    async with running_stack(tmp_path_factory.mktemp("stack"), settings) as running:
        yield running


@pytest.fixture(scope="session")
async def breakable(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """Run a stack with two server processes for the tests of the group `breakable`, which stop its parts."""
    settings: dict[str, object] = {
        "server": {"processes": 2},
        "dispatch": {"lease": LEASE},
    }
    async with running_stack(tmp_path_factory.mktemp("breakable"), settings) as running:
        yield running


@pytest.fixture(scope="session")
async def pool(stack: Stack) -> AsyncIterator[Pool]:
    async with stack.pool() as opened:
        yield opened


@pytest.fixture(scope="session")
async def secrets(stack: Stack, pool: Pool) -> Keys:
    project = await projects.ensure_project(pool, "demo")
    other = await projects.ensure_project(pool, "other")
    base = {"channel": Channel.EMAIL, "providers": ("sandbox",), "sender": "a@clarion.example"}
    templates = {"default": Template(subject="s", text="t")}
    await campaigns.apply_campaigns(
        pool,
        [
            Campaign(other, OTHERS_CAMPAIGN, "theirs", templates=templates, **base),  # type: ignore[arg-type]
            Campaign(
                project,
                PAUSED_CAMPAIGN,
                "paused",
                templates=templates,
                state=CampaignState.PAUSED,
                **base,  # type: ignore[arg-type]
            ),
        ],
    )
    yesterday = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)

    async def make(**options: object) -> str:
        secret = new_secret()
        wanted = {"project_id": project, "name": "test", "scopes": {Scope.TRIGGER}, **options}
        await keys.create_key(pool, secret, **wanted)  # type: ignore[arg-type]
        return secret

    revoked = await make()
    newest, *_ = await keys.list_keys(pool, project)
    await keys.revoke_key(pool, newest.id)
    made = Keys(
        good=stack.key,
        without_scope=await make(scopes={Scope.CAMPAIGNS_READ}),
        of_another_project=await make(project_id=other),
        held_to_45=await make(campaign_ids={45}),
        expired=await make(expires_at=yesterday),
        revoked=revoked,
        unknown=new_secret(),
        reads=await make(scopes=set(Scope)),
        reads_of_another_project=await make(project_id=other, scopes=set(Scope)),
    )
    await stack.until_key_works(made.reads_of_another_project)
    return made


@pytest.fixture(scope="session")
async def http(stack: Stack) -> AsyncIterator[httpx.AsyncClient]:
    async with client(stack) as opened:
        yield opened


@pytest.fixture(scope="session")
async def http2(stack: Stack) -> AsyncIterator[httpx.AsyncClient]:
    async with client(stack, http2=True) as opened:
        yield opened


Stubs = dict[str, trigger_pb2_grpc.TriggerServiceStub]


@pytest.fixture(scope="session")
async def channels(stack: Stack) -> AsyncIterator[dict[str, grpc.aio.Channel]]:
    """gRPC through the gateway, and straight to the server."""
    async with (
        grpc.aio.insecure_channel(stack.target) as through,
        grpc.aio.insecure_channel(stack.server_target) as straight,
    ):
        yield {"gateway": through, "server": straight}


@pytest.fixture
def user() -> str:
    """Return the external id of a user of this test alone."""
    return f"user-{uuid.uuid4()}"


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / f"AuthKey_{KEY_ID}.p8"
    path.write_bytes(pem(KEY))
    return path


@pytest.fixture
async def apple(key_file: Path) -> AsyncIterator[ApnsProviders]:
    async with contextlib.AsyncExitStack() as closing:
        yield ApnsProviders(key_file, closing)


@pytest.fixture
async def fcm(tmp_path: Path) -> AsyncIterator[FcmProviders]:
    async with fcm_providers(tmp_path) as fcm:
        yield fcm


@pytest.fixture
def google(fcm: FcmProviders) -> Google:
    return fcm.google
