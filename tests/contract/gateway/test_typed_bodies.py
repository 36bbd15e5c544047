"""JSON bodies of ordinary messages: decoded by the server, and rejected like all others.

The client API has no such call, so `ListTriggers` becomes one here.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from google.api import annotations_pb2
from google.protobuf import descriptor_pb2

from gateway.config import contract
from generate.raw_bodies import with_raw_bodies
from tests.kit.gateway import JSON, KEY, refused, running_toy_stack
from tests.kit.http_client import http_client

HTTP: Any = annotations_pb2.http
PATH = "/api/client/typed/44"


def with_typed_binding(described: bytes) -> bytes:
    files = descriptor_pb2.FileDescriptorSet.FromString(described)
    methods = [method for file in files.file for service in file.service for method in service.method]
    rule = next(one for one in methods if one.name == "ListTriggers").options.Extensions[HTTP]
    rule.patch, rule.body = "/api/client/typed/{campaign_id}", "*"
    return files.SerializeToString()


@pytest.fixture(scope="module")
async def patched(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[httpx.AsyncClient]:
    folder = tmp_path_factory.mktemp("protos")
    described = with_typed_binding(contract.descriptor_path().read_bytes())
    (folder / "clarion.binpb").write_bytes(described)
    (folder / "gateway.binpb").write_bytes(with_raw_bodies(described))

    def built(name: str) -> Path:
        return folder / name

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(contract, "built", built)
        contract.load.cache_clear()
        async with (
            running_toy_stack() as stack,
            http_client(f"http://{stack.address}", headers={**KEY, **JSON}) as client,
        ):
            yield client
    contract.load.cache_clear()


async def test_typed_body_arrives(patched: httpx.AsyncClient) -> None:
    answer = await patched.patch(
        PATH, content=b'{"external_id": "\xc3\xa9", "state": "dead", "page_size": null}'
    )
    assert answer.status_code == 200, answer.text
    [delivery] = answer.json()["deliveries"]
    assert delivery["external_id"] == "é"
    assert delivery["state"] in {"dead", "DELIVERY_STATE_DEAD"}
    assert (await patched.patch(PATH)).status_code == 200  # without a body, all fields are absent


@pytest.mark.parametrize(
    ("body", "field", "reason", "words"),
    [
        ('{"nope": 1}', "nope", "UNKNOWN_FIELD", "is not a field of this call"),
        ('{"externalId": ""}', "externalId", "UNKNOWN_FIELD", "did you mean external_id?"),
        ('{"http_body": {}}', "http_body", "UNKNOWN_FIELD", "is not a field of this call"),
        ('{"campaign_id": "55"}', "campaign_id", "UNKNOWN_FIELD", "is part of the path"),
        ('{"page_size": "many"}', "page_size", "WRONG_TYPE", "must be an integer from -2147483648 to"),
        ('{"page_size": 1.5}', "page_size", "WRONG_TYPE", 'found "1.5"'),
        ('{"page_size": 1e300}', "page_size", "WRONG_TYPE", "must be an integer from -2147483648 to"),
        ('{"page_size": true}', "page_size", "WRONG_TYPE", "must be an integer, found a boolean"),
        ('{"page_size": []}', "page_size", "WRONG_TYPE", "must be an integer, found an array"),
        ('{"external_id": 5}', "external_id", "WRONG_TYPE", "must be a string, found a number"),
        ('{"state": "gone"}', "state", "UNKNOWN_VALUE", "must be one of pending, sending"),
        ('{"state": 5}', "state", "WRONG_TYPE", "must be a string, found a number"),
        ('{"accepted_since": "now"}', "accepted_since", "INVALID_FORMAT", "RFC 3339"),
        ('{"accepted_since": {}}', "accepted_since", "WRONG_TYPE", "RFC 3339"),
        ('{"external_id": "a"', "", "MALFORMED_JSON", "it ends too early"),
        ('{"page_size": NaN}', "", "MALFORMED_JSON", "NaN is not a JSON value"),
        ('{"page_size": 1, "page_size": 2}', "", "MALFORMED_JSON", "twice"),
        ('{"external_id": "\\u0000"}', "", "MALFORMED_JSON", "U+0000"),
        (b'{"external_id": "\xff"}', "", "MALFORMED_JSON", "is not UTF-8"),
        ("[]", "", "WRONG_TYPE", "must be a JSON object, found an empty array"),
        ("[" * 33 + "]" * 33, "", "OUT_OF_RANGE", "nested deeper than 32 levels"),
        ("[" * 30_000, "", "OUT_OF_RANGE", "which is the limit"),
        ("[" + "0," * 2000 + "0]", "", "OUT_OF_RANGE", "more than 1000 members and elements"),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_wrong_typed_body_is_422(
    patched: httpx.AsyncClient, body: str | bytes, field: str, reason: str, words: str
) -> None:
    answer = await patched.patch(PATH, content=body)
    [violation] = refused(answer, 422, "INVALID_REQUEST")["details"][1]["field_violations"]
    assert (violation.get("field", ""), violation["reason"]) == (field, reason)
    assert words in violation["description"]


async def test_every_violation_of_a_body_is_named(patched: httpx.AsyncClient) -> None:
    answer = await patched.patch(PATH, json={"a": 1, "page_size": "x", "state": "gone"})
    violations = refused(answer, 422, "INVALID_REQUEST")["details"][1]["field_violations"]
    assert [one["field"] for one in violations] == ["a", "page_size", "state"]


async def test_typed_body_has_the_same_refusals(patched: httpx.AsyncClient) -> None:
    refused(await patched.patch(PATH, content=b"x" * 70_000), 413, "BODY_TOO_LARGE")
    refused(
        await patched.patch(PATH, headers={"content-type": "text/plain"}), 415, "CONTENT_TYPE_UNSUPPORTED"
    )
    refused(await patched.patch(f"{PATH}?page_size=1", json={}), 422, "INVALID_REQUEST")
    refused(await patched.patch("/api/client/typed/%ff", json={}), 422, "INVALID_REQUEST")
