"""Calls of the demo's email campaign, and the refusals they get."""

from __future__ import annotations

from typing import Any

import grpc
import httpx
import pytest

from clarion.v1 import trigger_pb2 as pb
from tests.kit.documented_errors import check_rest, reason_of
from tests.kit.stack import EXAMPLE
from tests.kit.until import until

TRIGGER = "/api/client/campaigns/44/trigger"


def reason(answer: httpx.Response) -> str:
    """Check that the refusal is a documented one; return its reason."""
    return reason_of(check_rest(answer))


def email_request(**user: str) -> pb.TriggerEmailRequest:
    return pb.TriggerEmailRequest(
        campaign_id=44, user=pb.EmailUser(external_id="x", email="test@test.com", **user)
    )


async def refused(calling: grpc.aio.UnaryUnaryCall[Any, Any]) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await calling
    return caught.value


async def until_status(http: httpx.AsyncClient, headers: dict[str, str], status: int) -> None:
    async def answered() -> bool:
        return (await http.post(TRIGGER, json=EXAMPLE, headers=headers)).status_code == status

    await until(answered, f"{status} for a trigger")
