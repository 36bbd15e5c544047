"""The examples in error_reason.proto: they are what the gateway and the servers really answer."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from clarion.v1 import error_reason_pb2, options_pb2
from gateway import GatewaySettings
from gateway.config import replies
from gateway.config.replies import Reply, too_large
from server import errors
from tests.kit.cases import each_case

ANSWER: Any = options_pb2.answer  # its .pyi file predates typed extensions
SETTINGS = GatewaySettings(upstreams=("127.0.0.1:1",))
# Their messages have facts of the call, and parity tests compare them.
OF_THE_CALL = {"INVALID_REQUEST", "RATE_LIMITED", "INTERNAL_FAULT"}


def gateway_replies() -> dict[str, list[str]]:
    """Return the messages of the gateway's own replies by reason."""
    found = defaultdict(list)
    own = [one for one in vars(replies).values() if isinstance(one, Reply)]
    for reply in (*own, too_large(SETTINGS.max_body_bytes)):
        found[error_reason_pb2.ErrorReason.Name(reply.reason).removeprefix("ERROR_REASON_")].append(
            reply.message
        )
    return found


def server_errors() -> dict[str, str]:
    """Return the default message of each reason that servers answer with."""
    found = [one for one in vars(errors).values() if isinstance(one, type)]
    kinds = [one for one in found if issubclass(one, errors.RequestError) and "reason" in vars(one)]
    return {one.reason: str(one.__doc__).partition("\n")[0] for one in kinds}


GATEWAY, SERVER = gateway_replies(), server_errors()


@each_case("reason", sorted(set(GATEWAY) - OF_THE_CALL))
def test_example_is_a_real_answer(reason: str) -> None:
    value = error_reason_pb2.ErrorReason.DESCRIPTOR.values_by_name[f"ERROR_REASON_{reason}"]
    example = value.GetOptions().Extensions[ANSWER].example
    assert example.message in {*GATEWAY[reason], SERVER.get(reason)}
    assert not example.violations


def test_gateway_answers_with_known_reasons() -> None:
    assert len(GATEWAY) > 12
    assert set(GATEWAY) >= OF_THE_CALL
