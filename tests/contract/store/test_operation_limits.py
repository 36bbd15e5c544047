"""How many operations run at once: of one caller, and of one project."""

from __future__ import annotations

import asyncio
import uuid

import pytest

from clarion.admin.v1 import delivery_pb2 as pb
from server.admin.call import AdminCall
from server.admin.delivery_changes import DeliveryChanges
from server.domain.operator import Actor, ActorKind, Grant, Role
from server.errors import RateLimited
from server.store.pool import Pool
from server.store.records import operations as store
from server.store.records.operations import OperationState

OF_A_CALLER, OF_A_PROJECT = 5, 20


def robot() -> Actor:
    return Actor(ActorKind.ROBOT, "night watch", (Grant(Role.OPERATOR),), key_id=uuid.uuid4())


async def start(pool: Pool, actor: Actor, project: str = "") -> uuid.UUID:
    request = pb.RetryDeliveriesRequest(campaign_id="44", project=project)
    call = AdminCall(actor, Role.OPERATOR, "192.0.2.1", "r")
    answer = await DeliveryChanges(pool).RetryDeliveries(request, call)
    return uuid.UUID(answer.operation.operation_id)


async def stop(pool: Pool, *operations: uuid.UUID) -> None:
    async with pool.acquire() as connection:
        for one in operations:
            await store.end_operation(connection, one, OperationState.CANCELLED)


async def test_a_caller_runs_few_operations(pool: Pool) -> None:
    ada = robot()
    results = await asyncio.gather(
        *(start(pool, ada) for _ in range(OF_A_CALLER + 3)), return_exceptions=True
    )
    running = [one for one in results if isinstance(one, uuid.UUID)]
    refused = [one for one in results if isinstance(one, RateLimited)]
    assert (len(running), len(refused)) == (OF_A_CALLER, 3), results
    assert "You have 5 bulk operations running" in str(refused[0])
    assert refused[0].retry_after
    bob = await start(pool, robot())
    await stop(pool, running[0])
    running.append(await start(pool, ada))
    with pytest.raises(RateLimited):
        await start(pool, ada)
    await stop(pool, bob, *running)


async def test_sessions_of_a_person_count_together(pool: Pool) -> None:
    sessions = [
        Actor(ActorKind.PERSON, "ada@example.com", (Grant(Role.OPERATOR),), session_id=uuid.uuid4())
        for _ in range(OF_A_CALLER + 1)
    ]
    running = [await start(pool, one) for one in sessions[:-1]]
    with pytest.raises(RateLimited):
        await start(pool, sessions[-1])
    await stop(pool, *running)


def person(person_id: uuid.UUID) -> Actor:
    """Return a new session of a person whose name others have, too."""
    session = uuid.uuid4()
    return Actor(ActorKind.PERSON, "Ada", (Grant(Role.OPERATOR),), session_id=session, person_id=person_id)


async def test_people_of_the_same_name_count_apart(pool: Pool) -> None:
    ada, other = uuid.uuid4(), uuid.uuid4()
    running = [await start(pool, person(ada)) for _ in range(OF_A_CALLER)]
    with pytest.raises(RateLimited):
        await start(pool, person(ada))
    running.append(await start(pool, person(other)))
    await stop(pool, *running)


async def test_operations_of_older_versions_count_by_name(pool: Pool) -> None:
    """They have no owner."""
    ada = person(uuid.uuid4())
    running = [await start(pool, ada) for _ in range(OF_A_CALLER)]
    await pool.execute("UPDATE bulk_operation SET owner = NULL WHERE id = ANY($1)", running)
    with pytest.raises(RateLimited):
        await start(pool, ada)
    running.append(await start(pool, robot()))
    await stop(pool, *running)


async def test_a_project_has_few_operations(pool: Pool) -> None:
    projects = [row["name"] for row in await pool.fetch("SELECT name FROM project ORDER BY id LIMIT 2")]
    callers = [robot() for _ in range(OF_A_PROJECT // OF_A_CALLER)]
    running = [await start(pool, one, projects[0]) for one in callers for _ in range(OF_A_CALLER)]
    for project in (projects[0], ""):
        with pytest.raises(RateLimited, match="The project has 20"):
            await start(pool, robot(), project)
    other = await start(pool, robot(), projects[1])
    await stop(pool, other, *running)
