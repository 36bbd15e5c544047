"""What `make faults` reports as a failed guarantee."""

from __future__ import annotations

from lab.faults.finding import finding
from lab.faults.verdict import Kill, Lost, Verdict, judge
from lab.sink import Mail

KILL = Kill(100.0, 100.5)
ACCEPTED = {"one": "id-1", "two": "id-2"}


def mail(call: str, trigger_id: str, at: float = 99.0) -> Mail:
    return Mail(at, f"<{trigger_id}@clarion.example>", call)


ONE, TWO = mail("one", "id-1"), mail("two", "id-2")


def verdict(*mails: Mail, lost: tuple[Lost, ...] = ()) -> Verdict:
    return judge(ACCEPTED, mails, lost, [KILL])


def test_each_delivered_once_passes() -> None:
    found = verdict(ONE, TWO)
    assert found.passed
    assert (found.accepted, found.mails, found.duplicates) == (2, 2, ())


def test_accepted_but_not_delivered_fails() -> None:
    found = verdict(ONE)
    assert found.missing == ("two",)
    assert not found.passed


def test_delivered_without_an_answer_passes() -> None:
    found = verdict(ONE, TWO, mail("three", "id-3"))
    assert found.unacknowledged == 1
    assert found.passed


def test_duplicate_in_flight_at_a_kill_passes() -> None:
    found = verdict(ONE, TWO, TWO, lost=(Lost("id-2", 99.0, 101.0),))
    assert [duplicate.call for duplicate in found.duplicates] == ["two"]
    assert found.in_flight == 1
    assert found.passed


def test_attempt_dated_just_after_the_signal_was_in_flight() -> None:
    found = verdict(ONE, TWO, lost=(Lost("id-2", 100.1, 103.0),))
    assert (found.in_flight, found.lost_without_kill) == (1, 0)


def test_duplicate_without_a_kill_fails() -> None:
    for lost in (
        (),
        (Lost("id-1", 99.0, 101.0),),
        (Lost("id-2", 50.0, 60.0),),
        (Lost("id-2", 101.0, 104.0),),
    ):
        found = verdict(ONE, TWO, TWO, lost=lost)
        assert [duplicate.call for duplicate in found.unexplained] == ["two"]
        assert not found.passed


def test_one_kill_does_not_explain_three_mails() -> None:
    found = verdict(ONE, TWO, TWO, TWO, lost=(Lost("id-2", 99.0, 101.0),))
    assert len(found.unexplained) == 1


def test_third_copy_fails_where_two_are_allowed() -> None:
    """Also if a hang explains each of them."""
    lost = [Lost("id-2", 99.0, 101.0), Lost("id-2", 99.5, 102.0)]
    two, three = (judge(ACCEPTED, [ONE, *[TWO] * copies], lost, [KILL], 2) for copies in (2, 3))
    assert two.passed
    assert [duplicate.call for duplicate in three.excessive] == ["two"]
    assert not three.unexplained
    assert not three.passed


def test_duplicate_with_another_message_id_fails() -> None:
    found = verdict(ONE, TWO, mail("two", "id-9"), lost=(Lost("id-2", 99.0, 101.0),))
    assert len(found.unrecognisable) == len(found.mismatched) == 1
    assert not found.passed


def test_attempt_lost_without_a_kill_fails() -> None:
    found = verdict(ONE, TWO, lost=(Lost("id-1", 10.0, 20.0),))
    assert found.lost_without_kill == 1
    assert not found.passed


def test_a_scenario_names_each_guarantee_that_failed() -> None:
    found = finding(
        "hung server", {"accepted": 9, "left after (s)": 2.04}, {"left in time": False, "kept": True}
    )
    assert not found.passed
    assert str(found) == "hung server: accepted: 9, left after (s): 2.0\n  FAILED: left in time"
    assert finding("hung server", {}, {"kept": True}).passed
