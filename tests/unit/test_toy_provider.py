"""Runs the code of docs/how-to/add-a-provider.md: one new file, one registration, no other change."""

from __future__ import annotations

import importlib.util
import inspect
import re
import sys
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from structlog.testing import capture_logs

from server.config import load
from server.dispatcher.providers import REGISTRY, build
from server.dispatcher.providers.base import Provider
from server.domain.campaign import Channel
from server.domain.trigger import Trigger
from server.errors import ConfigError
from server.wiring.campaign_file import read, to_campaigns
from tests.kit.dispatch import MemoryCampaigns, MemoryQueue, ScriptedProvider, outcomes, running
from tests.kit.http_api import Api, Reply, http_api
from tests.kit.outcomes import DEAD, DELIVERED, RETRY

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "add-a-provider.md"
NUMBER = "+15551234567"
CAMPAIGNS = """
project: shop
campaigns:
  - id: 45
    name: Codes
    channel: text
    providers: [courier, backup]
    retry: {max_attempts: 3, first_delay: 0}
    templates: {default: {text: "Your code is {{ event.code }}."}}
"""


def block(language: str, heading: str) -> str:
    """Return the page's first block of a language below a heading."""
    section = PAGE.read_text(encoding="utf-8").partition(f"\n## {heading}\n")[2]
    found = re.search(rf"```{language}\n(.*?)```", section, re.DOTALL)
    assert found, heading
    return found[1]


def as_module(name: str, source: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Import source code as a module of the repository with this name."""
    path = folder / f"{name.rpartition('.')[2]}.py"
    path.write_text(source, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def _registered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Register the page's provider with the page's line."""
    module = as_module(
        "server.dispatcher.providers.courier", block("python", "1. The file"), tmp_path, monkeypatch
    )
    line = block("text", "3. The registration")
    registered = re.fullmatch(r'    "(\w+)": \((\w+), (\w+)\),\n', line)
    assert registered
    kind, settings, provider = registered.groups()
    monkeypatch.setitem(REGISTRY, kind, (getattr(module, settings), getattr(module, provider)))
    with capture_logs():
        yield


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    async with http_api(lambda _: Reply(202, {"id": "c-1"})) as running_api:
        yield running_api


def configured(api: Api, tmp_path: Path, **settings: object) -> Provider:
    """Build the provider as the page configures it, except for the address."""
    file = tmp_path / "clarion.toml"
    file.write_text(block("toml", "3. The registration"))
    loaded = load(file, {"CLARION_PROVIDERS_COURIER_TOKEN": "open-sesame"})
    table: dict[str, Any] = {**loaded.providers["courier"], "url": api.url, **settings}
    return build("courier", table, data_dir=tmp_path)


def triggers(count: int) -> list[Trigger]:
    return [
        Trigger(uuid.uuid4(), 1, 45, Channel.TEXT, f"user-{number}", NUMBER, event=f'{{"code": {number}}}')
        for number in range(count)
    ]


class TextProvider(ScriptedProvider):
    channels = frozenset({Channel.TEXT})


async def test_the_dispatcher_delivers_through_the_provider(api: Api, tmp_path: Path) -> None:
    courier = configured(api, tmp_path, rate=0)
    backup = TextProvider("backup")
    (tmp_path / "campaigns.yaml").write_text(CAMPAIGNS)
    by_name = {"courier": courier, "backup": backup}
    campaigns = MemoryCampaigns(*to_campaigns(read(tmp_path / "campaigns.yaml"), 1, by_name))
    queue, sent = MemoryQueue(), triggers(20)
    async with running(queue, courier, backup, campaigns=campaigns):
        queue.add(*sent, provider="courier,backup")
        await queue.until_attempts(20)
    await courier.aclose()
    assert outcomes(queue) == [DELIVERED] * 20
    assert {done.attempt.provider_message_id for done in queue.attempts} == {"c-1"}
    assert {request.json()["reference"] for request in api.requests} == {str(one.id) for one in sent}
    assert {request.json()["text"] for request in api.requests} == {
        f"Your code is {number}." for number in range(20)
    }
    assert not backup.sent


async def test_an_outage_opens_the_breaker_and_fails_over(api: Api, tmp_path: Path) -> None:
    courier = configured(api, tmp_path, rate=0, breaker_failures=2, concurrency=2)
    backup = TextProvider("backup")
    api.script += [Reply(503)] * 50
    (tmp_path / "campaigns.yaml").write_text(CAMPAIGNS)
    by_name = {"courier": courier, "backup": backup}
    campaigns = MemoryCampaigns(*to_campaigns(read(tmp_path / "campaigns.yaml"), 1, by_name))
    queue = MemoryQueue()
    async with running(queue, courier, backup, campaigns=campaigns):
        queue.add(*triggers(10), provider="courier,backup")
        await queue.until_attempts(12)
    await courier.aclose()
    assert (outcomes(queue).count(RETRY), outcomes(queue).count(DELIVERED)) == (2, 10)
    assert len(backup.sent) == 10


async def test_a_rejected_recipient_or_message_is_dead(api: Api, tmp_path: Path) -> None:
    courier = configured(api, tmp_path)
    api.script += [Reply(410), Reply(400)]
    (tmp_path / "campaigns.yaml").write_text(CAMPAIGNS.replace(", backup", ""))
    campaigns = MemoryCampaigns(*to_campaigns(read(tmp_path / "campaigns.yaml"), 1, {"courier": courier}))
    queue = MemoryQueue()
    async with running(queue, courier, campaigns=campaigns):
        queue.add(*triggers(2), provider="courier")
        await queue.until_attempts(2)
    await courier.aclose()
    assert outcomes(queue) == [DEAD, DEAD]
    assert sorted(done.refusal for done in queue.attempts) == ["", "Courier HTTP 410"]


def test_the_page_sets_a_rate_and_every_policy_field_works(api: Api, tmp_path: Path) -> None:
    assert configured(api, tmp_path).policy.rate == 50
    policy = configured(
        api, tmp_path, breaker_failures="3", breaker_pause=2, retry={"max_attempts": 4, "ttl": 60}
    ).policy
    assert (policy.breaker_failures, policy.breaker_pause) == (3, 2.0)
    assert policy.retry
    assert (policy.retry.max_attempts, policy.retry.ttl) == (4, 60.0)


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"token": ""}, "providers.courier.token: "),
        ({"rate": -1}, "providers.courier.rate: "),
        ({"concurency": 5}, "providers.courier.concurency: is not a setting of this provider"),
        ({"retry": {"max_attempt": 5}}, "providers.courier.retry.max_attempt: is not a setting"),
        ({"retry": {"max_attempts": 0}}, "providers.courier.retry.max_attempts: "),
        ({"type": "curier"}, "providers.courier.type: must be one of sandbox, "),
    ],
)
def test_an_invalid_setting_is_named(
    api: Api, tmp_path: Path, settings: dict[str, object], problem: str
) -> None:
    with pytest.raises(ConfigError, match=f"^{re.escape(problem)}"):
        configured(api, tmp_path, **settings)


async def test_the_pages_own_tests_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "tests.contract.test_courier_provider"
    module = as_module(name, block("python", "4. The test"), tmp_path, monkeypatch)
    run = 0
    for test in [value for key, value in vars(module).items() if key.startswith("test_")]:
        marks = [mark for mark in getattr(test, "pytestmark", []) if mark.name == "parametrize"]
        for case in marks[0].args[1] if marks else [()]:
            names = marks[0].args[0] if marks else ()
            assert list(inspect.signature(test).parameters) == list(names)
            await test(**dict(zip(names, case, strict=True)))
            run += 1
    assert run == 11
