"""What the gateway reads from the contract: paths, methods and bodies."""

from __future__ import annotations

import re
from typing import Any

import pytest
from google.api import annotations_pb2
from google.protobuf import descriptor_pb2

from gateway.config import contract
from gateway.config.contract import path_regex
from generate import raw_bodies
from server.intake.rest_message import RAW_BODY
from tests.kit.gateway_config import BATCH

HTTP: Any = annotations_pb2.http


def test_paths_come_from_the_annotations() -> None:
    paths = {path.regex: path for path in contract.load().paths}
    trigger = paths["/api/client/campaigns/[^/]+/trigger"]
    assert trigger.methods == ("POST",)
    assert trigger.body_methods == ("POST",)
    assert paths["/api/client/keys/[^/]+"].methods == ("DELETE",)
    assert paths["/api/client/campaigns"].body_methods == ()


def test_methods_with_a_body_take_no_query() -> None:
    without_query = {path.regex: path.methods_without_query for path in contract.load().paths}
    assert without_query["/api/client/campaigns"] == without_query["/api/client/keys/[^/]+"] == ()
    assert without_query[BATCH] == without_query["/api/admin/v1/projects"] == ("POST",)


def test_server_knows_the_field_of_raw_bodies() -> None:
    assert raw_bodies.NUMBER == RAW_BODY


def test_other_bodies_are_not_supported() -> None:
    described = descriptor_pb2.FileDescriptorSet.FromString(contract.descriptor_path().read_bytes())
    method = next(m for f in described.file for s in f.service for m in s.method if m.name == "ListTriggers")
    rule: Any = method.options.Extensions[HTTP]
    rule.body = "external_id"
    with pytest.raises(ValueError, match="ListTriggers"):
        raw_bodies.with_raw_bodies(described.SerializeToString())


@pytest.mark.parametrize(
    ("template", "path", "matches"),
    [
        ("/a/{id}/b", "/a/1/b", True),
        ("/a/{id}/b", "/a/1/2/b", False),
        ("/a/{id}/b", "/a//b", False),
        ("/a/{id}", "/a/1/", False),
        ("/v1/{name=a/*/b/*}", "/v1/a/1/b/2", True),
        ("/v1/{name=a/*}", "/v1/b/1", False),
        ("/v1/{name=**}", "/v1/a/b/c", True),
        ("/a.b/{id}", "/aXb/1", False),
        ("/a/{id}:stop", "/a/1:stop", True),
    ],
)
def test_a_template_becomes_an_expression_for_whole_paths(template: str, path: str, matches: bool) -> None:  # noqa: FBT001
    assert (re.fullmatch(path_regex(template), path) is not None) is matches
