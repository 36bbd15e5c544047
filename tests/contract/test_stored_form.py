"""What is stored of a trigger is what will be sent to: spelt anew only where delivery needs it."""

from __future__ import annotations

import httpx
import pytest

from server.store.pool import Pool
from tests.contract.conftest import Keys
from tests.kit.stack import EXAMPLE

PATH = "/api/client/campaigns/44/trigger"


@pytest.mark.parametrize(
    ("member", "spelling"),
    [
        ("email", ("A.B+c@Example.COM", "A.B+c@Example.COM")),
        ("email", ("a@MÜNCHEN.example.com", "a@xn--mnchen-3ya.example.com")),
        ("locale", ("zh_hans_cn", "zh-Hans-CN")),
        ("locale", ("", "")),
        ("timezone", ("US/Central", "US/Central")),
        ("external_id", (" a\u00a0😀", " a\u00a0😀")),
    ],
)
async def test_user_is_stored_in_normal_form(
    member: str, spelling: tuple[str, str], http: httpx.AsyncClient, pool: Pool, secrets: Keys
) -> None:
    given, stored = spelling
    body = {**EXAMPLE, "user": {**EXAMPLE["user"], member: given}}
    answer = await http.post(PATH, json=body, headers={"authorization": f"Bearer {secrets.good}"})
    assert answer.status_code == 204
    row = await pool.fetchrow("SELECT * FROM trigger WHERE id = $1::uuid", answer.headers["x-trigger-id"])
    assert row is not None
    assert row["address" if member == "email" else member] == stored
