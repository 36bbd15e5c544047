"""Both OpenAPI documents, for callers and for operators: complete and consistent in themselves."""

from __future__ import annotations

import json
import re

import pytest

from tests.kit.documented_schemas import ADMIN_API, CLIENT_API, OpenApi

APIS = {"client": CLIENT_API, "admin": ADMIN_API}
of_both = pytest.mark.parametrize("api", APIS.values(), ids=APIS)
OPERATIONS = [(api, name) for api, shown in APIS.items() for name in shown.operations]


@of_both
def test_examples_of_everything_are_shown(api: OpenApi) -> None:
    for part in ("requestBody", "responses/200", "parameters", "components/responses"):
        assert [path for path in api.examples if part in path]


@of_both
def test_examples_are_valid(api: OpenApi) -> None:
    wrong = {
        path: error.message
        for path, (schema, value) in api.examples.items()
        for error in api.validator(schema).iter_errors(value)
    }
    assert wrong == {}


@of_both
def test_document_has_no_absolute_addresses(api: OpenApi) -> None:
    assert [one["url"] for one in api.document["servers"]] == ["/"]
    assert "127.0.0.1" not in json.dumps(api.document)


@of_both
def test_references_resolve(api: OpenApi) -> None:
    assert len(api.references) > 20
    assert api.references <= set(api.everything)


@of_both
def test_components_are_used(api: OpenApi) -> None:
    components = api.document["components"]
    named = {f"#/components/{kind}/{name}" for kind in ("schemas", "headers") for name in components[kind]}
    assert named <= api.references


@pytest.mark.parametrize(("api", "name"), OPERATIONS)
def test_operation_has_texts_and_errors(api: str, name: str) -> None:
    operation = APIS[api].operations[name]
    assert operation["summary"].endswith(".")
    assert operation["description"]
    assert set(operation["tags"]) <= {tag["name"] for tag in APIS[api].document["tags"]}
    statuses = {status[0] for status in operation["responses"]}
    assert statuses == {"2", "4", "5"}


@of_both
def test_descriptions_are_not_empty(api: OpenApi) -> None:
    for path, one in api.everything.items():
        kind = path.split("/")[-2] if path.count("/") > 1 else ""
        if kind in {"properties", "schemas", "parameters", "headers", "responses", "tags"}:
            text = one.get("description") or api.resolve(one).get("description")
            assert text is None if "anyOf" in path else text, path


@of_both
def test_patterns_are_portable(api: OpenApi) -> None:
    patterns = [one["pattern"] for one in api.everything.values() if isinstance(one.get("pattern"), str)]
    assert patterns
    for pattern in patterns:
        assert pattern.isprintable()
        assert not re.search(r"\\x\{|\\[zAZpP]|\(\?", pattern), "RE2 and Python only"
