"""More metadata for the client's calls: each trigger gets its task's."""

from __future__ import annotations

import asyncio
import uuid
from contextvars import ContextVar

import pytest

from clarion_client import Accepted, AsyncClient, Client, Email
from server.store.pool import Pool
from tests.kit.stack import Stack

PARENT = "00-{:032x}-00f067aa0ba902b7-01"
SPAN: ContextVar[int] = ContextVar("SPAN")


def trace_context() -> list[tuple[str, str]]:
    return [("traceparent", PARENT.format(SPAN.get()))]


async def stored(pool: Pool, accepted: object) -> str:
    assert isinstance(accepted, Accepted), accepted
    found: str = await pool.fetchval(
        "SELECT traceparent FROM trigger WHERE id = $1", uuid.UUID(accepted.trigger_id)
    )
    return found


def message() -> Email:
    return Email(44, external_id="u-1", email="test@test.com")


async def test_thread_sends_its_metadata(stack: Stack, pool: Pool) -> None:
    SPAN.set(7)
    with Client(stack.url, stack.key, metadata=trace_context) as clarion:
        accepted = await asyncio.to_thread(clarion.trigger, message())
    assert await stored(pool, accepted) == PARENT.format(7)


async def test_each_task_sends_its_own_metadata(stack: Stack, pool: Pool) -> None:
    async with AsyncClient(stack.url, stack.key, metadata=trace_context) as clarion:

        async def task(span: int) -> None:
            SPAN.set(span)
            if span % 2:
                found: list[object] = [await clarion.trigger(message())]
            else:
                found = [*await clarion.trigger_batch([message(), message()])]
            assert [await stored(pool, one) for one in found] == [PARENT.format(span)] * len(found)

        await asyncio.gather(*map(task, range(1, 9)))


async def test_closing_waits_for_batches_with_metadata(stack: Stack) -> None:
    SPAN.set(7)
    clarion = AsyncClient(stack.url, stack.key, metadata=trace_context)
    waiting = asyncio.create_task(clarion.trigger_batch([message()]))
    await asyncio.sleep(0)  # the task hands its messages to the client
    await clarion.aclose()
    [accepted] = await waiting
    assert isinstance(accepted, Accepted)


async def test_error_in_the_function_is_raised(stack: Stack) -> None:
    def broken() -> list[tuple[str, str]]:
        raise LookupError("no span")

    async with AsyncClient(stack.url, stack.key, metadata=broken) as clarion:
        with pytest.raises(LookupError, match="no span"):
            await clarion.trigger(message())
