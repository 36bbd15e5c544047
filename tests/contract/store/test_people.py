"""Erasing a person: what remains, what is in flight, a process that is killed, and what belongs to others."""

from __future__ import annotations

import json
import uuid

import asyncpg
import pytest

from server.domain.campaign import Channel
from server.domain.operator import Actor, ActorKind
from server.domain.trigger import Trigger
from server.store.admin.audit import record_event
from server.store.admin.campaigns import apply_campaigns
from server.store.admin.suppressions import add_suppressions
from server.store.pool import Pool
from server.store.queue.triggers import PostgresQueue
from server.store.records import operations, people
from server.store.records.admin_lists import AdminFilter
from server.store.records.operations import Kind, OperationState
from server.store.records.people import Erased, PersonFilter, erase_some
from tests.kit.outcomes import DELIVERED, SUPPRESSED
from tests.kit.store import a_campaign, a_trigger, accept, ended, redrive, shares
from tests.kit.suppressions import claim_one, listed, refuse, removed

ADDRESS = "ada.lovelace@person.example"
ID = "person-815"
PERSON = PersonFilter(1, ID, (ADDRESS,))
ACTOR = Actor(ActorKind.ROBOT, "night watch", ())
TABLES = (
    "trigger",
    "queue",
    "attempt",
    "dead_letter",
    "cancellation",
    "webhook_message",
    "webhook_attempt",
    "webhook_queue",
    "audit_event",
    "bulk_operation",
    "content_due",
    "suppression",
)


def theirs(**changes: object) -> Trigger:
    facts = {
        "external_id": ID,
        "address": ADDRESS,
        "user_data": '{"name":"Adelgunde"}',
        "event": f'{{"of":"{ID}"}}',
    }
    return a_trigger(**{**facts, **changes})


async def erase(pool: Pool, person: PersonFilter = PERSON, *, of_all: bool = True) -> Erased:
    async with pool.acquire() as connection, connection.transaction():
        return await erase_some(connection, person, of_all=of_all)


async def where(pool: Pool, *texts: str) -> set[str]:
    """Return the tables in which one of the texts occurs."""
    found = set()
    for name in TABLES:
        rows = await pool.fetch(f"SELECT to_jsonb(t)::text AS row FROM {name} t")  # noqa: S608 - ours
        if any(text in row["row"] for row in rows for text in texts):
            found.add(name)
    return found


@pytest.fixture
async def endpoint(pool: Pool) -> None:
    await pool.execute(
        "INSERT INTO webhook (project_id, url, events, secret) VALUES"
        " (1, 'https://hook.example', '{trigger.delivered,trigger.cancelled,trigger.dead}', 's')"
    )


async def record(pool: Pool, action: str, **values: object) -> None:
    async with pool.acquire() as connection:
        await record_event(
            connection,
            ACTOR,
            action,
            project_id=1,
            resource="suppressions/one",
            before=values.get("before"),  # type: ignore[arg-type]
            after=values.get("after"),  # type: ignore[arg-type]
            address="192.0.2.1",
            request_id=str(uuid.uuid4()),
        )


async def operation(pool: Pool, wanted: AdminFilter) -> uuid.UUID:
    async with pool.acquire() as connection:
        made = await operations.create_operation(
            connection,
            Kind.RETRY,
            wanted,
            projects={1},
            matching=1,
            is_partial=False,
            actor=ACTOR,
            address="192.0.2.1",
            request_id="r",
        )
    return made.id


@pytest.mark.usefixtures("endpoint")
async def test_nothing_that_names_the_person_remains(pool: Pool) -> None:
    texts = (ID, ADDRESS, "ada2@", "Adelgunde", "another-id", "m-1")
    await refuse(pool, theirs())
    claim = await claim_one(pool, theirs(address="ada2@person.example"))
    await PostgresQueue(pool).finish([ended(claim, DELIVERED)])
    message = await pool.fetchval("SELECT id FROM webhook_message WHERE type = 'trigger.delivered'")
    await pool.execute(
        "INSERT INTO webhook_attempt VALUES ($1, 1, 'retry', 500, now(), 0.1, '', $2)",
        message,
        f"no user {ID}",
    )
    await accept(pool, theirs(external_id="another-id"), theirs(), a_trigger())
    await record(pool, "suppressions.remove", before={"address": ADDRESS, "project": "one"})
    await record(pool, "operation.start", after={"filter": [f"external_id: {ID}", "campaign_id: 44"]})
    ended_one = await operation(pool, AdminFilter(external_id=ID, address=ADDRESS))
    async with pool.acquire() as connection:
        await operations.end_operation(connection, ended_one, OperationState.DONE)
    assert await where(pool, *texts) == {
        "trigger",
        "attempt",
        "webhook_message",
        "webhook_attempt",
        "audit_event",
        "bulk_operation",
        "suppression",
    }
    erased = await erase(pool)
    assert erased == Erased(4, 2, 4, 1, 2, 1, 0, done=True)
    assert await where(pool, *texts) == set()
    states = await pool.fetch("SELECT campaign_id, accepted_at FROM trigger WHERE external_id = '[erased]'")
    assert [row["campaign_id"] for row in states] == [44] * 4
    bodies = [json.loads(row["body"])["data"] for row in await pool.fetch("SELECT body FROM webhook_message")]
    assert {(body["external_id"], body["campaign_id"]) for body in bodies} == {("[erased]", 44)}
    filters = await pool.fetchval(
        "SELECT after->'filter' FROM audit_event WHERE action = 'operation.start' ORDER BY id DESC LIMIT 1"
    )
    assert json.loads(filters) == ["external_id: [erased]", "campaign_id: 44"]
    assert await pool.fetchval("SELECT count(*) FROM queue") == 1  # the other person's
    again = await erase(pool)
    assert again == Erased(0, 0, 0, 0, 0, 0, 0, done=True)


async def test_what_is_being_sent_is_erased_afterwards(pool: Pool) -> None:
    claim = await claim_one(pool, theirs())
    running = await operation(pool, AdminFilter(address=ADDRESS))
    first = await erase(pool)
    assert (first.deliveries, first.in_flight, first.done) == (0, 2, False)
    await PostgresQueue(pool).finish([ended(claim, DELIVERED)])
    async with pool.acquire() as connection:
        await operations.end_operation(connection, running, OperationState.DONE)
    second = await erase(pool)
    assert (second.deliveries, second.operations, second.in_flight, second.done) == (1, 1, 0, True)
    assert "trigger" not in await where(pool, ID, ADDRESS)


async def test_an_outcome_after_the_lease_brings_nothing_back(pool: Pool) -> None:
    claim = await claim_one(pool, theirs())
    await pool.execute("UPDATE queue SET due_at = now() - interval '1 second'")
    erased = await erase(pool)
    assert (erased.deliveries, erased.cancelled) == (1, 1)
    await PostgresQueue(pool).finish([ended(claim, DELIVERED)])
    assert await where(pool, ID, ADDRESS) == set()
    assert await listed(pool) == []


async def test_a_killed_process_leaves_no_half_step(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(people, "AT_ONCE", 2)
    await accept(pool, *(theirs() for _ in range(5)))
    assert (await erase(pool)).deliveries == 2
    async with pool.acquire() as connection:
        await connection.execute("BEGIN")
        assert (await erase_some(connection, PERSON, of_all=True)).deliveries == 2
        await pool.execute("SELECT pg_terminate_backend($1)", connection.get_server_pid())
        with pytest.raises(
            (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)
        ):
            await connection.execute("COMMIT")
    steps = [await erase(pool) for _ in range(2)]
    assert [(step.deliveries, step.done) for step in steps] == [(2, False), (1, True)]
    assert await where(pool, ID, ADDRESS) == set()


async def test_another_project_keeps_its_data(pool: Pool) -> None:
    await accept(pool, theirs(project_id=2))
    await record(pool, "suppressions.remove", before={"address": ADDRESS})
    other = PersonFilter(2, ID, ())
    assert (await erase(pool, PersonFilter(1, ID, ()), of_all=False)).deliveries == 0
    assert (await erase(pool, other, of_all=False)).deliveries == 1
    assert await where(pool, ADDRESS) == {"audit_event"}
    assert (await erase(pool, of_all=False)).audit_events == 1


async def test_audit_events_lose_only_their_values(pool: Pool) -> None:
    await record(pool, "suppressions.remove", before={"address": "someone@example.com"})
    for statement in ("UPDATE audit_event SET before = '{}'", "UPDATE audit_event SET actor = 'x'"):
        with pytest.raises(asyncpg.PostgresError, match="cannot be changed"):
            await pool.execute(statement)
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("SET LOCAL clarion.erase_from_audit = 'on'")
        with pytest.raises(asyncpg.PostgresError, match="cannot be changed"):
            await connection.execute("UPDATE audit_event SET actor = 'x'")


async def test_claims_of_others_continue(pool: Pool) -> None:
    await accept(pool, theirs(), a_trigger())
    await erase(pool)
    [claim] = await PostgresQueue(pool).claim(shares(sandbox=5), 60)
    assert claim.trigger.address == a_trigger().address


async def test_hashed_suppressions_stay_in_force(pool: Pool) -> None:
    await refuse(pool, theirs())
    assert (await erase(pool)).suppressions == 1
    [one] = await listed(pool, address=ADDRESS)
    assert (one.address[0], len(one.address), one.reason) == ("#", 65, "550 unknown")
    assert await listed(pool, address=one.address) == [one]
    upper = ADDRESS.replace("person.example", "Person.Example")
    for address, words in ((ADDRESS, "550 unknown"), (upper, "550 unknown"), ("other@person.example", "")):
        claim = await claim_one(pool, theirs(address=address))
        assert claim.suppressed == words
        await PostgresQueue(pool).finish([ended(claim, SUPPRESSED if words else DELIVERED)])
    assert (await claim_one(pool, theirs(project_id=2))).suppressed == ""
    async with pool.acquire() as connection:
        assert await add_suppressions(connection, 1, Channel.EMAIL, [ADDRESS, "new@person.example"], "r") == 1
    assert await removed(pool, address=ADDRESS) == 1
    assert (await claim_one(pool, theirs())).suppressed == ""


async def test_an_address_hashed_twice_is_claimed_once(pool: Pool) -> None:
    """An older version may add the address of a hashed suppression."""
    await refuse(pool, theirs())
    await erase(pool)
    await pool.execute(
        "INSERT INTO suppression SELECT project_id, channel, $1, 'old', '', trigger_id FROM suppression",
        ADDRESS,
    )
    assert (await claim_one(pool, theirs())).suppressed
    await erase(pool)
    assert [one.address[0] for one in await listed(pool)] == ["#"]


async def test_suppressed_messages_of_the_hashed_are_not_retried(pool: Pool) -> None:
    await apply_campaigns(pool, [a_campaign()])
    await refuse(pool, theirs())
    await erase(pool)
    queue = PostgresQueue(pool)  # only the holder of a lease gives up
    await accept(pool, theirs())
    [claim] = await queue.claim(shares(sandbox=5), 60)
    await queue.finish([ended(claim, SUPPRESSED)])
    assert await redrive(pool, AdminFilter(), [claim.trigger.id]) == 0
    assert await removed(pool, address=ADDRESS) == 1
    assert await redrive(pool, AdminFilter(), [claim.trigger.id]) == 1
