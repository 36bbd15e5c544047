"""NUL in texts, which PostgreSQL cannot store."""

from __future__ import annotations

import pytest

from clarion.admin.v1 import operator_pb2 as pb
from server.errors import InvalidRequest
from server.intake.rules import require_valid


def test_every_text_with_nul_is_named() -> None:
    grants = [pb.Grant(role="admin"), pb.Grant(role="admin", project="a\0b")]
    request = pb.CreateAdminKeyRequest(display_name="fine", grants=grants)
    with pytest.raises(InvalidRequest) as caught:
        require_valid(request)
    assert [(one.field, one.reason) for one in caught.value.violations] == [
        ("grants[1].project", "INVALID_FORMAT")
    ]


def test_a_field_that_breaks_another_rule_is_named_once() -> None:
    request = pb.CreateAdminKeyRequest(display_name="\0", grants=[pb.Grant(role="admin")])
    with pytest.raises(InvalidRequest) as caught:
        require_valid(request)
    assert [one.field for one in caught.value.violations] == ["display_name"]
