"""The published OpenAPI document against the real gateway: what it says is what is answered."""

from __future__ import annotations

import datetime as dt
from typing import Any

import httpx
import pytest

from server.domain.key import Scope, new_secret
from server.store.admin import keys, projects
from server.store.pool import Pool
from tests.contract.conftest import Keys
from tests.kit.documented_errors import check_rest
from tests.kit.schemathesis_run import Run, run_schemathesis, unsuccessful
from tests.kit.stack import EXAMPLE, Stack

pytestmark = pytest.mark.long

# Of a batch, an item that breaks the schema is refused within a 200.
BATCH = "POST /api/client/triggers:batch"
REFUSED_OR_200 = {"negative_data_rejection": {"expected-statuses": ["200", "4xx", "5xx"]}}
# Schemathesis cannot check an endless stream: see test_following.py.
ENDLESS = "/api/client/triggers:watch"


@pytest.fixture(scope="module")
async def document(http: httpx.AsyncClient) -> dict[str, Any]:
    """Return what the gateway publishes."""
    answer = await http.get("/openapi.json")
    assert answer.status_code == 200
    return dict(answer.json())


@pytest.fixture(scope="module")
async def ids(http: httpx.AsyncClient, stack: Stack, pool: Pool) -> dict[str, list[str]]:
    """Return what there is, for the paths' parameters; chance would never find any of it."""
    waiting = {**EXAMPLE, "send_at": (dt.datetime.now(dt.UTC) + dt.timedelta(days=1)).isoformat()}
    posted = await http.post("/api/client/campaigns/44/trigger", json=waiting, headers=stack.headers())
    project = await projects.ensure_project(pool, "demo")
    unused = await keys.create_key(
        pool, new_secret(), project_id=project, name="unused", scopes={Scope.TRIGGER}
    )
    return {
        "campaign_id": ["44", "45", "46"],
        "trigger_id": [posted.headers["x-trigger-id"]],
        "key_id": [str(unused.id)],
    }


@pytest.fixture(scope="module")
async def run(
    document: dict[str, Any],
    ids: dict[str, list[str]],
    stack: Stack,
    secrets: Keys,
    tmp_path_factory: pytest.TempPathFactory,
) -> Run:
    """Run schemathesis once."""
    return await run_schemathesis(
        document,
        stack.url,
        secrets.reads,
        ids,
        tmp_path_factory.mktemp("schemathesis"),
        operations=[{"include-name": BATCH, "checks": REFUSED_OR_200}],
        excluded=(ENDLESS,),
    )


def test_responses_match_the_document(run: Run) -> None:
    assert run.code == 0, run.out


def test_each_documented_operation_succeeds(run: Run, document: dict[str, Any]) -> None:
    assert unsuccessful(run, document, (ENDLESS,)) == set()


async def test_keys_in_use_were_not_revoked(
    run: Run, http: httpx.AsyncClient, stack: Stack, secrets: Keys
) -> None:
    for secret in (secrets.good, secrets.reads):
        answer = await http.get("/api/client/campaigns", headers=stack.headers(secret))
        assert answer.status_code == 200


def test_every_error_is_documented(run: Run) -> None:
    refusals = [answer for _, _, answer in run.calls if answer.is_error]
    assert len(refusals) > 50
    for refusal in refusals:
        check_rest(refusal)
