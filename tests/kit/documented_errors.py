"""Every error answer that any test meets, held against what error_reason.proto documents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import grpc
import httpx
from google.protobuf import json_format
from google.rpc import error_details_pb2, status_pb2

from clarion.v1 import error_reason_pb2, options_pb2

__all__ = ["as_json", "check_call", "check_rest", "fields_of", "reason_of", "status_of"]

RPC = "type.googleapis.com/google.rpc"
KNOWN_DETAILS = {f"{RPC}.ErrorInfo", f"{RPC}.BadRequest", f"{RPC}.RetryInfo"}
REASONS = error_reason_pb2.ErrorReason.DESCRIPTOR.values_by_name
VIOLATIONS = error_reason_pb2.ViolationReason.DESCRIPTOR.values_by_name
ANSWER: Any = options_pb2.answer  # its .pyi file takes it for a plain field
HEADERS = {401: "www-authenticate", 405: "allow", 429: "retry-after", 503: "retry-after"}
WAITS = {"RATE_LIMITED", "OVERLOADED", "STORE_UNAVAILABLE"}
"""Reasons that a server gives with the time to wait."""


def check_rest(answer: httpx.Response) -> dict[str, Any]:
    """Check that a REST refusal is one that is documented; return its body."""
    assert answer.headers["content-type"] == "application/json", answer
    shown: dict[str, Any] = answer.json()
    documented = _check_status(shown)
    assert answer.status_code in documented.http_statuses, (answer.status_code, shown)
    needed = HEADERS.get(answer.status_code)
    assert needed is None or answer.headers[needed], answer.headers
    assert not [name for name in answer.headers if name.startswith(("grpc", "x-envoy"))]
    return shown


def check_call(error: grpc.aio.AioRpcError) -> dict[str, Any]:
    """Check that a gRPC refusal is one that is documented; return its status as REST would show it."""
    shown = as_json(status_of(error))
    _check_status(shown)
    assert (error.code().value[0], error.details()) == (shown["code"], shown["message"])
    if reason_of(shown) in WAITS:
        assert int(dict(error.trailing_metadata())["retry-after"]) >= 1
    return shown


def reason_of(shown: Mapping[str, Any]) -> str:
    """Return the reason in a status's one ErrorInfo."""
    [info] = _details(shown, "ErrorInfo")
    return str(info["reason"])


def fields_of(shown: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return field and reason of each violation, sorted."""
    violations = [v for bad in _details(shown, "BadRequest") for v in bad["field_violations"]]
    return sorted((v.get("field", ""), v["reason"]) for v in violations)


def status_of(error: grpc.aio.AioRpcError) -> status_pb2.Status:
    """Return the rich status in the trailers of a gRPC error."""
    for name, value in error.trailing_metadata():
        if name == "grpc-status-details-bin":
            assert isinstance(value, bytes)
            return status_pb2.Status.FromString(value)
    raise AssertionError(f"no details in {error}")


def as_json(status: status_pb2.Status) -> dict[str, Any]:
    """Return a status as REST would show it."""
    pool = error_details_pb2.DESCRIPTOR.pool  # knows the types of the details
    shown: dict[str, Any] = json_format.MessageToDict(
        status, preserving_proto_field_name=True, descriptor_pool=pool
    )
    return shown


def _details(shown: Mapping[str, Any], kind: str) -> list[dict[str, Any]]:
    return [detail for detail in shown["details"] if detail["@type"] == f"{RPC}.{kind}"]


def _check_status(shown: Mapping[str, Any]) -> Any:
    """Check the shape; return what is documented of the reason: its code and HTTP statuses."""
    assert set(shown) == {"code", "message", "details"}
    assert shown["message"]
    kinds = [detail["@type"] for detail in shown["details"]]
    assert len(kinds) == len(set(kinds))
    assert KNOWN_DETAILS.issuperset(kinds)
    [info] = _details(shown, "ErrorInfo")
    assert info["domain"] == "clarion"
    documented = _answer(info["reason"])
    assert shown["code"] == documented.code, shown
    for bad in _details(shown, "BadRequest"):
        _check_violations(bad)
    assert (reason_of(shown) in WAITS) == (f"{RPC}.RetryInfo" in kinds), shown
    return documented


def _check_violations(bad: Mapping[str, Any]) -> None:
    assert bad["field_violations"]
    for violation in bad["field_violations"]:
        assert violation["description"].strip()
        assert set(violation) <= {"field", "description", "reason"}
        assert violation["reason"] != "UNSPECIFIED"
        assert f"VIOLATION_REASON_{violation['reason']}" in VIOLATIONS


def _answer(reason: str) -> Any:
    assert reason != "UNSPECIFIED"
    options = REASONS[f"ERROR_REASON_{reason}"].GetOptions()
    assert options.HasExtension(ANSWER), reason
    return options.Extensions[ANSWER]
