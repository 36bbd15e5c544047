"""Live tails without a browser."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, aclosing

from clarion.admin.v1 import project_pb2
from portal.live import UP_TO_DATE
from server.admin.client import LocalAdmin
from tests.contract.portal.conftest import Visitor
from tests.kit.admin import create_admin_key
from tests.kit.stack import EXAMPLE, Stack, client
from tests.kit.until import TIMEOUT, until


async def parts(visitor: Visitor) -> AsyncGenerator[str, None]:
    """Yield the events of the live tail of all deliveries."""
    async with visitor.http.stream("GET", "/portal/live/deliveries") as answer:
        assert answer.status_code == 200
        async for text in answer.aiter_text():
            yield text


async def read_until(expected: str, tail: AsyncIterator[str]) -> str:
    """Return what a tail writes until this text is part of it."""
    text = ""
    async with asyncio.timeout(TIMEOUT):
        while expected not in text:
            text += await anext(tail)
    return text


async def test_each_viewer_sees_only_their_projects(admin: Visitor, local: LocalAdmin, stack: Stack) -> None:
    other = f"other-{uuid.uuid4().hex[:8]}"
    await local.call("projects", "CreateProject", project_pb2.CreateProjectRequest(project=other))
    user = f"tail-{uuid.uuid4().hex[:8]}"
    body = {**EXAMPLE, "user": {**EXAMPLE["user"], "external_id": user}}
    async with client(stack) as http:
        sent = await http.post("/api/client/campaigns/44/trigger", json=body, headers=stack.headers())
        assert sent.status_code == 204, sent.text
    async with client(stack) as first, client(stack) as second:
        stranger = Visitor(first, await create_admin_key(local, "viewer", project=other))
        colleague = Visitor(second, await create_admin_key(local, "viewer", project="demo"))
        for one in (stranger, colleague):
            await one.sign_in()
        async with AsyncExitStack() as tails:
            everything, theirs, ours = [
                await tails.enter_async_context(aclosing(parts(one))) for one in (admin, stranger, colleague)
            ]
            # A list that others follow may be older than the trigger, which is then among its first changes.
            await read_until(user, everything)
            await read_until(user, ours)
            assert user not in await read_until(UP_TO_DATE, theirs)  # while the others follow, too


async def test_a_session_has_few_streams(viewer: Visitor) -> None:
    """The page over the limit says what to do, and streams that end make room."""
    async with AsyncExitStack() as stack:
        tails = [await stack.enter_async_context(aclosing(parts(viewer))) for _ in range(10)]
        for tail in tails:
            await read_until(UP_TO_DATE, tail)
        async with aclosing(parts(viewer)) as tail:
            assert "event: too-many\ndata: You have" in "".join([text async for text in tail])
        refused = await viewer.get("/export/suppressions.csv")
        assert (refused.status_code, "Close another tab" in refused.text) == (429, True)

    async def works() -> bool:
        return (await viewer.get("/export/suppressions.csv")).status_code == 200

    await until(works, "the streams have ended")
