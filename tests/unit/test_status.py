"""Errors as callers see them, and that every name in them is in the protos."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest.mock import create_autospec
from urllib.parse import quote

import grpc
import pytest
from google.rpc import code_pb2, error_details_pb2, status_pb2

from clarion.v1 import error_reason_pb2
from server import errors
from server.api.status import abort, to_status
from server.errors import (
    CampaignPaused,
    InvalidRequest,
    RateLimited,
    RequestError,
    StoreUnavailable,
    Violation,
)
from tests.kit.cases import each_case

SERVER = Path(errors.__file__).parent
SOURCES = [*SERVER.glob("api/*.py"), *SERVER.glob("intake/*.py")]
VIOLATION_REASONS = {
    name.removeprefix("VIOLATION_REASON_")
    for name in error_reason_pb2.ViolationReason.DESCRIPTOR.values_by_name
} - {"UNSPECIFIED"}


def subclasses(kind: type[RequestError]) -> Iterator[type[RequestError]]:
    yield kind
    for below in kind.__subclasses__():
        yield from subclasses(below)


def details(status: status_pb2.Status, kind: type) -> list[object]:
    found = []
    for packed in status.details:
        message = kind()
        if packed.Unpack(message):
            found.append(message)
    return found


def wire_bytes(status: status_pb2.Status) -> int:
    """The headers' size: the message percent-encoded, and all of it again as base64."""
    return len(quote(status.message)) + len(status.SerializeToString()) * 4 // 3 + 4


@each_case("kind", sorted(set(subclasses(RequestError)), key=str))
def test_every_error_has_a_documented_reason(kind: type[RequestError]) -> None:
    assert f"ERROR_REASON_{kind.reason}" in error_reason_pb2.ErrorReason.DESCRIPTOR.values_by_name
    assert kind.__doc__


def test_every_violation_reason_in_the_code_is_documented() -> None:
    used = {name for path in SOURCES for name in _violation_reasons(path)}
    assert {"REQUIRED", "WRONG_TYPE", "UNKNOWN_FIELD", "CHANNEL_MISMATCH", "CAMPAIGN_STATE"} <= used
    assert used <= VIOLATION_REASONS


def test_every_documented_violation_reason_is_used() -> None:
    texts = "".join(path.read_text() for path in SOURCES)
    assert {reason for reason in VIOLATION_REASONS if f'"{reason}"' not in texts} == set()


def _violation_reasons(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Violation":
            for argument in node.args[2:]:
                yield from (
                    found.value
                    for found in ast.walk(argument)
                    if isinstance(found, ast.Constant)
                    and isinstance(found.value, str)
                    and found.value.isupper()
                )


def test_an_error_has_one_error_info_and_one_bad_request() -> None:
    status = to_status(
        InvalidRequest([Violation("a", "is required", "REQUIRED"), Violation("b", "is not x", "WRONG_TYPE")])
    )
    assert status.code == code_pb2.INVALID_ARGUMENT
    assert status.message == "2 violations: a: is required; b: is not x"
    [info] = details(status, error_details_pb2.ErrorInfo)
    assert info == error_details_pb2.ErrorInfo(reason="INVALID_REQUEST", domain="clarion")
    [bad] = details(status, error_details_pb2.BadRequest)
    assert isinstance(bad, error_details_pb2.BadRequest)
    assert [(v.field, v.description, v.reason) for v in bad.field_violations] == [
        ("a", "is required", "REQUIRED"),
        ("b", "is not x", "WRONG_TYPE"),
    ]
    assert len(status.details) == 2


def test_an_error_without_violations_has_no_bad_request() -> None:
    status = to_status(errors.CampaignNotFound(metadata={"campaign_id": "9"}))
    assert len(status.details) == 1
    [info] = details(status, error_details_pb2.ErrorInfo)
    assert isinstance(info, error_details_pb2.ErrorInfo)
    assert dict(info.metadata) == {"campaign_id": "9"}


def test_an_error_that_may_pass_says_when() -> None:
    for error, milliseconds in ((StoreUnavailable(), 2000), (RateLimited(0.25), 250)):
        [retry] = details(to_status(error), error_details_pb2.RetryInfo)
        assert isinstance(retry, error_details_pb2.RetryInfo)
        assert retry.retry_delay.ToMilliseconds() == milliseconds


@pytest.mark.parametrize("char", ["x", "é", "語", "😀", "%", '"'])
def test_thousand_violations_stay_below_8_kib(char: str) -> None:
    violations = [Violation(f"user.{char * 500}", char * 500, "UNKNOWN_FIELD") for _ in range(1000)]
    status = to_status(InvalidRequest(violations))
    assert wire_bytes(status) < 6000
    [bad] = details(status, error_details_pb2.BadRequest)
    assert isinstance(bad, error_details_pb2.BadRequest)
    rest = 1000 - (len(bad.field_violations) - 1)
    assert bad.field_violations[-1].description == f"and {rest} more violations"
    assert status.message.startswith("1000 violations: user.")


def test_long_facts_are_cut() -> None:
    status = to_status(RequestError("m" * 10_000, metadata={"request_id": "r" * 10_000}))
    assert wire_bytes(status) < 1000
    [info] = details(status, error_details_pb2.ErrorInfo)
    assert isinstance(info, error_details_pb2.ErrorInfo)
    assert info.metadata["request_id"].endswith("…")


async def test_status_of_one_error_is_not_that_of_another() -> None:
    """Although those of errors without details are kept."""
    errors_of: list[Callable[[str], RequestError]] = [
        RequestError,
        CampaignPaused,
        lambda text: RateLimited(1, text),
        lambda text: RateLimited(2, text),
        lambda text: RequestError(text, metadata={"campaign_id": text}),
    ]
    given = [make(str(number % 70)) for number in range(140) for make in errors_of]
    context = create_autospec(grpc.aio.ServicerContext, instance=True)
    for error in given:
        await abort(context, error)
    sent = [call.args[0].trailing_metadata for call in context.abort_with_status.await_args_list]
    assert len(set(sent)) == 70 * len(errors_of)
    for error, metadata in zip(given, sent, strict=True):
        status = status_pb2.Status.FromString(dict(metadata)["grpc-status-details-bin"])
        assert status == to_status(error)
