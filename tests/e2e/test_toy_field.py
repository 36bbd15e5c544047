"""Adding a field of a trigger: the steps of CONTRIBUTING.md in a copy that then stores and renders it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest

from tests.kit.http_client import http_client
from tests.kit.scratch import Scratch, ScratchStack
from tests.kit.stack import Stack, free_port

PAGE = "CONTRIBUTING.md"
HEADING = "### A field of a trigger"
MAX_FILES = 8
CAMPAIGN = """
  - id: 48
    name: Greeting
    channel: text
    provider: sandbox
    templates:
      default:
        text: "Hello {{ user.salutation }}."
"""
PATH = "/api/client/campaigns/48/trigger"
PHONE = "+12025550123"
CLIENT = """
import sys
from clarion_client import Client, InvalidRequest

with Client(*sys.argv[1:]) as clarion:
    given = {"external_id": "u-1", "phone": "+12025550123"}
    print(clarion.trigger_text(48, **given, salutation="Dr").trigger_id)
    try:
        clarion.trigger_text(48, **given, salutation="x" * 21)
    except InvalidRequest as error:
        print(*(violation.field for violation in error.violations))
"""
# Tests that fail if a step is left out: templates see the field, and the client's classes have it.
CHECKS = (
    "tests/unit/test_rendering.py::test_templates_see_every_field_of_the_user",
    "tests/unit/test_client_messages.py::test_message_classes_have_the_fields_of_the_contract",
    "tests/unit/test_client_messages.py::test_trigger_calls_accept_every_common_field",
)

pytestmark = pytest.mark.long


async def test_adding_a_field_takes_few_files(tmp_path: Path) -> None:
    scratch = Scratch(tmp_path / "scratch")
    changed = scratch.follow(PAGE, HEADING)
    assert len(changed) <= MAX_FILES, changed
    scratch.build()
    scratch.test(*CHECKS)
    with (scratch.folder / "server/up/demo/campaigns.yaml").open("a", encoding="utf-8") as demo:
        demo.write(CAMPAIGN)
    stack = ScratchStack(tmp_path / "stack", free_port(), python_path=scratch.environment["PYTHONPATH"])
    try:
        await stack.start()
        await _is_stored_and_rendered(stack, scratch)
        await _is_content(stack)
        await _is_checked(stack)
    finally:
        await stack.stop()


def _body(salutation: str) -> dict[str, Any]:
    return {"user": {"external_id": "u-1", "phone": PHONE, "salutation": salutation}}


def _http(stack: Stack) -> httpx.AsyncClient:
    return http_client(stack.url, headers=stack.headers())


async def _is_stored_and_rendered(stack: Stack, scratch: Scratch) -> None:
    """Trigger over REST, in a batch, by the typed call of the command line and by that of the client."""
    async with _http(stack) as http:
        single = await http.post(PATH, json=_body("Dr"))
        assert single.status_code == 204, single.text
        items = {"triggers": [{"campaign_id": 48, **_body("Dr")}]}
        batch = (await http.post("/api/client/triggers:batch", json=items)).json()
    words = ("--phone", PHONE, "--salutation", "Dr", "--target", stack.target)
    code, typed, problem = await stack.run("trigger", "48", *words)
    assert code == 0, problem
    by_client, broken = scratch.python(CLIENT, stack.url, stack.key).split()
    assert broken == "user.salutation"
    ids = [single.headers["x-trigger-id"], batch["outcomes"][0]["trigger_id"], typed.strip(), by_client]
    async with stack.pool() as pool:
        query = "SELECT salutation FROM trigger WHERE id = ANY($1)"
        stored = [row["salutation"] for row in await pool.fetch(query, [UUID(one) for one in ids])]
    assert stored == ["Dr"] * 4
    for trigger_id in ids:
        message = json.loads((await stack.delivered("text", trigger_id)).read_bytes())
        assert message["body"] == "Hello Dr."


async def _is_content(stack: Stack) -> None:
    """The same key with another value is a different trigger."""
    async with _http(stack) as http:
        key = {"idempotency-key": "greeting-1"}
        first, again, other = [
            await http.post(PATH, json=_body(value), headers=key) for value in ("Dr", "Dr", "Prof")
        ]
    assert (first.status_code, again.status_code) == (204, 204)
    assert again.headers["idempotency-replayed"] == "true"
    assert again.headers["x-trigger-id"] == first.headers["x-trigger-id"]
    assert other.status_code == 422
    assert "IDEMPOTENCY_KEY_REUSED" in other.text


async def _is_checked(stack: Stack) -> None:
    """The longest value is accepted; one that is longer is invalid over REST and in a batch."""
    async with _http(stack) as http:
        assert (await http.post(PATH, json=_body("x" * 20))).status_code == 204
        single = await http.post(PATH, json=_body("x" * 21))
        items = {"triggers": [{"campaign_id": 48, **_body("x" * 21)}]}
        [outcome] = (await http.post("/api/client/triggers:batch", json=items)).json()["outcomes"]
    assert single.status_code == 422
    for error in (single.json(), outcome["error"]):
        [violation] = error["details"][1]["field_violations"]
        assert violation["field"].endswith("user.salutation")
        assert violation["reason"] == "OUT_OF_RANGE"
