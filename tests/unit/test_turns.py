"""Turns: a project has a number of them at once, and uses none of another project's."""

from __future__ import annotations

import asyncio

import pytest

from server.errors import Overloaded
from server.store.records.project_slots import ProjectLimiter


async def test_who_has_no_turn_waits_for_one_but_not_for_long() -> None:
    hasty = ProjectLimiter(at_once=1, patience=0.05)
    async with hasty.slot(1):
        with pytest.raises(Overloaded):
            async with hasty.slot(1):
                pass
    turns = ProjectLimiter(at_once=1, patience=60)
    async with turns.slot(1):
        waiting = asyncio.create_task(_once(turns, 1))
        await asyncio.sleep(0.01)
        assert not waiting.done()
    await waiting


async def test_a_project_has_its_turns_whatever_another_does() -> None:
    turns = ProjectLimiter(at_once=2, patience=0.05)
    async with turns.slot(1), turns.slot(1):
        await _once(turns, 2)


async def _once(turns: ProjectLimiter, project_id: int) -> None:
    async with turns.slot(project_id):
        pass
