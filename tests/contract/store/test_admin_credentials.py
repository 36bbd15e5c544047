"""Secrets that no server has seen yet: strangers try many, and one works."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Iterable

import pytest

from server.admin import credentials
from server.admin.credentials import Credentials
from server.domain.operator import Actor, Credential, Grant, Role, new_admin_secret, new_session_token
from server.errors import CredentialsInvalid, Overloaded, StoreUnavailable
from server.store.admin import operators
from server.store.pool import Pool

MOST = 1000


async def new_key(pool: Pool) -> str:
    secret = new_admin_secret()
    expires_at = dt.datetime.now(dt.UTC) + dt.timedelta(days=1)
    async with pool.acquire() as connection:
        await operators.create_key(
            connection,
            secret,
            name="robot",
            grants=[Grant(Role.VIEWER)],
            created_by="",
            expires_at=expires_at,
        )
    return secret


async def tried(known: Credentials, secrets: Iterable[str]) -> list[Actor | BaseException]:
    return await asyncio.gather(*(known.actor(f"Bearer {one}") for one in secrets), return_exceptions=True)


async def test_strangers_do_not_keep_out_a_key(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    lookups = []

    async def counted(pool: Pool, secrets: Iterable[str]) -> dict[str, Credential]:
        lookups.append(len(list(secrets)))
        return await operators.find_credentials(pool, secrets)

    monkeypatch.setattr(credentials, "find_credentials", counted)
    secrets = [new_session_token() if number % 2 else new_admin_secret() for number in range(300)]
    key = await new_key(pool)
    *wrong, right = await tried(Credentials(pool), [*secrets, key])
    assert isinstance(right, Actor)
    assert right.name == "robot"
    assert {type(one) for one in wrong} == {CredentialsInvalid}
    assert sum(lookups) == 301
    assert len(lookups) <= 3


async def test_waiting_secrets_are_bounded(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    may_answer, asked = asyncio.Event(), asyncio.Event()

    async def held(pool: Pool, secrets: Iterable[str]) -> dict[str, Credential]:
        asked.set()
        await may_answer.wait()
        return {}

    monkeypatch.setattr(credentials, "find_credentials", held)
    known = Credentials(pool)
    tasks = [asyncio.create_task(tried(known, [new_admin_secret()]))]
    await asked.wait()
    tasks.append(asyncio.create_task(tried(known, [new_admin_secret() for _ in range(MOST + 1)])))
    await asyncio.sleep(0)  # the others begin
    await asyncio.sleep(0)
    may_answer.set()
    found = [one for results in await asyncio.gather(*tasks) for one in results]
    assert [type(one) for one in found].count(Overloaded) == 1
    assert [type(one) for one in found].count(CredentialsInvalid) == MOST + 1


async def test_an_outage_fails_all_who_wait(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails(pool: Pool, secrets: Iterable[str]) -> dict[str, Credential]:
        raise ConnectionError

    known = Credentials(pool)
    with monkeypatch.context() as patch:
        patch.setattr(credentials, "find_credentials", fails)
        results = await tried(known, [new_admin_secret() for _ in range(3)])
    assert {type(one) for one in results} == {StoreUnavailable}
    [again] = await tried(known, [await new_key(pool)])
    assert isinstance(again, Actor)
