"""How the drill of an upgrade judges what arrived."""

from __future__ import annotations

import dataclasses

import pytest

from lab.faults.finding import Finding
from lab.faults.upgrade import judge
from lab.sink import Mail

ACCEPTED = {"a-1": "id-1", "a-2": "id-2"}
MAILS = [Mail(0, f"<id-{n}@host>", f"a-{n}", f"a-{n}@faults.example", f"This is a-{n}.") for n in (1, 2)]
FIRST = MAILS[0]


def judged(*mails: Mail, failed: int = 0, left: int = 0) -> Finding:
    return judge(ACCEPTED, {"503": failed} if failed else {}, mails, left, 0.1)


def test_what_arrived_once_as_accepted_passes() -> None:
    assert judged(*MAILS).passed


@pytest.mark.parametrize(
    ("finding", "words"),
    [
        (judged(*MAILS, failed=1), "no call fails: {'503': 1}"),
        (judged(*MAILS, left=3), "not 3"),
        (judged(FIRST), "each accepted call is delivered: ['a-2']"),
        (judged(*MAILS, FIRST), "each is delivered once"),
        (judged(MAILS[1], dataclasses.replace(FIRST, to="b@faults.example")), "are right: ['a-1']"),
        (judged(MAILS[1], dataclasses.replace(FIRST, text="This is a-2.")), "are right: ['a-1']"),
        (judged(MAILS[1], dataclasses.replace(FIRST, message_id="<id-2@host>")), "are right: ['a-1']"),
    ],
)
def test_every_deviation_fails(finding: Finding, words: str) -> None:
    [failure] = finding.failures
    assert words in failure
