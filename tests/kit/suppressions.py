"""Refuse recipients, and list and remove the suppressions that follow."""

from __future__ import annotations

from typing import Any

from msgspec import structs

from server.domain.delivery import Claim, ClaimRequest
from server.domain.placement import Placement
from server.domain.trigger import Trigger
from server.store.admin.suppressions import (
    REMOVED_AT_ONCE,
    Suppression,
    SuppressionFilter,
    database_time,
    list_suppressions,
    remove_suppressions,
)
from server.store.pool import Pool
from server.store.queue.triggers import PostgresQueue
from tests.kit.outcomes import DEAD
from tests.kit.store import accept, ended


async def claim_one(pool: Pool, trigger: Trigger, provider: str = "sandbox") -> Claim:
    """Accept a trigger and claim it."""
    lane = f"{trigger.channel}/{provider}"
    await accept(pool, trigger, place=Placement(lane))
    [claim] = await PostgresQueue(pool).claim([ClaimRequest(lane, provider, 1)], 60)
    return claim


async def refuse(pool: Pool, *triggers: Trigger, words: str = "550 unknown") -> None:
    """Deliver triggers whose recipients the provider refuses."""
    queue = PostgresQueue(pool)
    lanes = {f"{trigger.channel}/sandbox" for trigger in triggers}
    for trigger in triggers:
        await accept(pool, trigger, place=Placement(f"{trigger.channel}/sandbox"))
    claims = await queue.claim([ClaimRequest(lane, "sandbox", 9) for lane in lanes], 60)
    await queue.finish([structs.replace(ended(claim, DEAD, error=words), refusal=words) for claim in claims])


async def listed(pool: Pool, *, limit: int = 100, **wanted: Any) -> list[Suppression]:
    return list((await list_suppressions(pool, SuppressionFilter(**wanted), limit)).rows)


async def remove(pool: Pool, wanted: SuppressionFilter, *, retry: bool = False) -> tuple[int, int]:
    """Remove all suppressions that match; return how many, and how many messages are retried."""
    until = await database_time(pool)
    removed = retried = 0
    while True:
        async with pool.acquire() as connection, connection.transaction():
            part = await remove_suppressions(connection, wanted, until, retry=retry)
        count = part.suppressions.total()
        removed, retried = removed + count, retried + len(part.retried)
        if count < REMOVED_AT_ONCE:
            return removed, retried


async def removed(pool: Pool, **wanted: Any) -> int:
    return (await remove(pool, SuppressionFilter(**wanted)))[0]
