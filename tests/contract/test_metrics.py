"""The metrics of every process of a running Clarion."""

from __future__ import annotations

import asyncio
import re
import subprocess
from collections.abc import AsyncIterator

import pytest

from tests.kit.prometheus import parsed, program, scraped, scraped_text
from tests.kit.stack import PORTAL, Stack, client, free_port, running_stack
from tests.kit.triggers import accepted
from tests.kit.until import until
from tests.unit.test_observability import DASHBOARDS, FOLDER

ROLES = {"server": "server", "dispatch": "dispatcher", "portal": "portal", "gateway": "gateway"}
"""The roles of processes by their section of the configuration."""

RESPONSE_CLASS = "envoy_response_code_class"
"""A label."""


@pytest.fixture(scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    listen = {section: {"metrics": f"127.0.0.1:{free_port()}"} for section in ROLES}
    settings: dict[str, object] = {**listen, "portal": {**listen["portal"], **_enabled()}}
    async with running_stack(tmp_path_factory.mktemp("stack"), settings) as running:
        async with client(running) as rest:
            rest.headers.update(running.headers())
            trigger = await accepted(rest)
            assert (await rest.get("/portal/sign-in")).status_code == 200
            assert (await rest.post("/api/client/campaigns/44/trigger", json={})).status_code == 422
        await running.delivered("email", trigger)
        yield running


def _enabled() -> dict[str, object]:
    portal = PORTAL["portal"]
    assert isinstance(portal, dict)
    return portal


def listen_of(stack: Stack, section: str) -> str:
    table = stack.settings[section]
    assert isinstance(table, dict)
    return str(table["metrics"])


async def clarions(stack: Stack, section: str) -> str:
    """Return the metrics of a process, without those of Envoy."""
    text = await scraped_text(listen_of(stack, section))
    return "".join(line for line in text.splitlines(keepends=True) if not re.match(r"(# TYPE )?envoy_", line))


@pytest.mark.parametrize("section", ROLES)
async def test_each_process_serves_its_metrics(stack: Stack, section: str) -> None:
    found = parsed(await clarions(stack, section))
    [build] = [name for name in found if name.startswith("clarion_build_info")]
    assert f'role="{ROLES[section]}"' in build
    assert found["process_resident_memory_bytes"] > 0
    assert ("clarion_gateway_envoy_up" in found) == (section == "gateway"), "an alert would fire"


@pytest.mark.parametrize("section", ROLES)
async def test_promtool_has_no_objection(stack: Stack, section: str) -> None:
    promtool = program("promtool")
    text = await clarions(stack, section)
    arguments = [promtool, "check", "metrics"]
    checked = await asyncio.to_thread(subprocess.run, arguments, input=text, capture_output=True, text=True)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


async def test_a_server_counts_calls_and_commits(stack: Stack) -> None:
    found = await scraped(listen_of(stack, "server"))
    method = 'method="clarion.v1.TriggerService/TriggerCampaign"'
    assert found[f'clarion_calls_total{{code="OK",{method}}}'] == 1
    assert found[f'clarion_calls_total{{code="INVALID_ARGUMENT",{method}}}'] == 1
    assert found['clarion_calls_refused_total{reason="INVALID_REQUEST"}'] == 1
    assert found[f'clarion_call_seconds_bucket{{le="+Inf",{method}}}'] == 2
    assert found["clarion_commit_triggers_sum"] == 1
    assert found["clarion_commit_seconds_count"] == 1
    assert found["clarion_pending_triggers"] == 0
    assert 0 <= found["clarion_catalog_age_seconds"] < 60
    assert found["clarion_schema_version"] == found["clarion_schema_version_needed"] > 0
    assert found["clarion_schema_indexes_missing"] == 0
    pools = {"accepting", "lists", "watchers", "operators"}
    assert {name for name in pools if f'clarion_pool_waiting{{pool="{name}"}}' in found} == pools


async def test_a_dispatcher_times_from_acceptance_to_sending(stack: Stack) -> None:
    listen = listen_of(stack, "dispatch")
    sent = 'clarion_accepted_to_sent_seconds_count{channel="email",provider="sandbox"}'

    async def reported() -> dict[str, float] | None:
        found = await scraped(listen)
        return found if found.get(sent) == 1 and found.get("clarion_database_size_bytes") else None

    found = await until(reported, "the dispatcher reports what it sent")
    assert found
    assert found['clarion_attempts_total{channel="email",outcome="delivered",provider="sandbox"}'] == 1
    assert found['clarion_breaker_open{provider="sandbox"}'] == 0
    assert found["clarion_database_reachable"] == 1
    assert found["clarion_data_disk_free_bytes"] > 0


async def test_the_gateway_adds_envoys_metrics(stack: Stack) -> None:
    found = await scraped(listen_of(stack, "gateway"))
    assert found["clarion_gateway_envoy_up"] == 1
    requests = (
        'envoy_http_downstream_rq_xx{envoy_response_code_class="2",envoy_http_conn_manager_prefix="ingress"}'
    )
    assert found[requests] >= 1
    names = {name.partition("{")[0] for name in found}
    used = [(FOLDER / "alerts.yml").read_text(), *(path.read_text() for path in DASHBOARDS)]
    assert set(re.findall(r"(?<!\w)envoy_\w+(?=[{\s)])", " ".join(used))) - {RESPONSE_CLASS} <= names


async def test_the_portal_counts_pages(stack: Stack) -> None:
    found = await scraped(listen_of(stack, "portal"))
    assert found['clarion_portal_requests_total{page="/sign-in",status="200"}'] == 1
    assert found['clarion_portal_request_seconds_count{page="/sign-in"}'] == 1
