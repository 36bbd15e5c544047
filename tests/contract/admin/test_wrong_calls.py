"""Wrong queries and bodies of admin calls: the same errors as in the client API, with every field named."""

from __future__ import annotations

import pytest

from tests.contract.admin.conftest import PREFIX, Operator
from tests.kit.cases import each_case

CASES: list[tuple[str, str, object, list[str]]] = [
    ("GET", "/projects?page_size=x&nope=1", None, ["page_size", "nope"]),
    ("GET", "/projects?page_size=1&page_size=2", None, ["page_size"]),
    ("GET", "/projects/demo?project=other", None, ["project"]),
    ("GET", "/projects/%ff", None, ["path"]),
    ("POST", "/projects?page_size=1", {}, ["query"]),
    ("POST", "/projects", {"project": 5, "nope": 1}, ["project", "nope"]),
    ("POST", "/projects", {"project": "a b"}, ["project"]),
    ("POST", "/projects", [], [""]),
    ("PATCH", "/projects/demo", {"project": "other", "burst": "many"}, ["project", "burst"]),
    ("PATCH", "/projects/demo", {"update_mask": "a b"}, ["update_mask"]),
    (
        "POST",
        "/adminKeys",
        {"display_name": "x", "grants": [{"role": 1, "x": 2}]},
        ["grants[0].role", "grants[0].x"],
    ),
]


@each_case(("method", "path", "body", "fields"), CASES)
async def test_wrong_call_names_its_fields(
    admin: Operator, method: str, path: str, body: object, fields: list[str]
) -> None:
    answer = await admin.call(method, path, body)
    assert answer.status_code == 422, answer.text
    info, request = answer.json()["details"]
    assert (info["reason"], info["domain"]) == ("INVALID_REQUEST", "clarion")
    assert [one.get("field", "") for one in request["field_violations"]] == fields
    assert "regex" not in answer.text
    assert "TYPE_" not in answer.text


@pytest.mark.parametrize("depth", [33, 20_000])
async def test_deep_body_is_rejected(admin: Operator, depth: int) -> None:
    text = '{"grants": ' + "[" * depth + "]" * depth + "}"
    headers = {"authorization": f"Bearer {admin.secret}", "content-type": "application/json"}
    answer = await admin.http.post(f"{PREFIX}/adminKeys", content=text, headers=headers)
    assert answer.status_code == 422, answer.text
    assert answer.json()["details"][1]["field_violations"][0]["reason"] == "OUT_OF_RANGE"
