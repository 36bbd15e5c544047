"""What `make faults` calls a broken promise."""

from __future__ import annotations

from lab.faults.verdict import Kill, Lost, Verdict, judge
from lab.product.faults_sink import Mail

KILL = Kill(100.0, 100.5)
ACCEPTED = {"one": "id-1", "two": "id-2"}


def mail(call: str, number: str, at: float = 99.0) -> Mail:
    return Mail(at, f"<{number}@clarion.example>", call)


ONE, TWO = mail("one", "id-1"), mail("two", "id-2")


def verdict(*mails: Mail, lost: tuple[Lost, ...] = ()) -> Verdict:
    return judge(ACCEPTED, mails, lost, [KILL])


def test_each_once_is_what_was_promised() -> None:
    found = verdict(ONE, TWO)
    assert found.kept
    assert (found.accepted, found.mails, found.doubles) == (2, 2, ())


def test_what_was_accepted_and_does_not_come_is_lost() -> None:
    found = verdict(ONE)
    assert found.lost == ("two",)
    assert not found.kept


def test_what_comes_without_an_answer_is_no_broken_promise() -> None:
    found = verdict(ONE, TWO, mail("three", "id-3"))
    assert found.unpromised == 1
    assert found.kept


def test_a_double_in_flight_at_a_kill_is_explained() -> None:
    found = verdict(ONE, TWO, TWO, lost=(Lost("id-2", 99.0, 101.0),))
    assert [double.call for double in found.doubles] == ["two"]
    assert found.in_flight == 1
    assert found.kept


def test_an_attempt_that_the_database_dated_just_after_the_signal_was_in_flight() -> None:
    found = verdict(ONE, TWO, lost=(Lost("id-2", 100.1, 103.0),))
    assert (found.in_flight, found.not_by_a_kill) == (1, 0)


def test_a_double_without_a_kill_is_a_broken_promise() -> None:
    for lost in (
        (),
        (Lost("id-1", 99.0, 101.0),),
        (Lost("id-2", 50.0, 60.0),),
        (Lost("id-2", 101.0, 104.0),),
    ):
        found = verdict(ONE, TWO, TWO, lost=lost)
        assert [double.call for double in found.unexplained] == ["two"]
        assert not found.kept


def test_one_kill_does_not_explain_three_mails() -> None:
    found = verdict(ONE, TWO, TWO, TWO, lost=(Lost("id-2", 99.0, 101.0),))
    assert len(found.unexplained) == 1


def test_a_double_with_another_message_id_is_a_broken_promise() -> None:
    found = verdict(ONE, TWO, mail("two", "id-9"), lost=(Lost("id-2", 99.0, 101.0),))
    assert len(found.unrecognisable) == len(found.foreign) == 1
    assert not found.kept


def test_an_attempt_that_is_lost_without_a_kill_is_a_broken_promise() -> None:
    found = verdict(ONE, TWO, lost=(Lost("id-1", 10.0, 20.0),))
    assert found.not_by_a_kill == 1
    assert not found.kept
