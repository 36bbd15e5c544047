"""Work on templates in threads, next to the event loop."""

from __future__ import annotations

import asyncio
import threading

import pytest

from server.admin.template_thread import TemplateThread
from server.errors import Overloaded


async def test_the_event_loop_continues() -> None:
    release = threading.Event()
    thread = TemplateThread("test", max_calls=1, own=1)
    working = asyncio.create_task(thread.run("ada", release.wait, 60))
    await asyncio.sleep(0)  # would wait for a minute if the work ran on the loop
    release.set()
    assert await working


async def test_too_many_calls_are_rejected() -> None:
    release = threading.Event()
    thread = TemplateThread("test", max_calls=2, own=1)
    working = [asyncio.create_task(thread.run(owner, release.wait, 60)) for owner in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await thread.run("ada", release.is_set)
    release.set()
    assert all(await asyncio.gather(*working))
    assert await thread.run("ada", release.is_set)


async def test_one_owner_cannot_keep_out_another() -> None:
    release = threading.Event()
    thread = TemplateThread("test", max_calls=8, own=2)
    working = [asyncio.create_task(thread.run("ada", release.wait, 60)) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded, match="your calls"):
        await thread.run("ada", release.is_set)
    working.append(asyncio.create_task(thread.run("bob", release.wait, 60)))
    await asyncio.sleep(0)
    assert not working[-1].done()
    release.set()
    assert all(await asyncio.gather(*working))
    assert await thread.run("ada", release.is_set)
