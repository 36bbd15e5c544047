"""What the drill of many machines reports as failed, and the commands that it takes from the docs."""

from __future__ import annotations

import subprocess

import pytest

from lab.errors import LabError
from lab.machines.failovers import KILLED, RECOVERY_LIMIT, Failover
from lab.machines.incidents import Impact, Incident, Window
from lab.machines.procedure import BRING_BACK, FAIL_OVER, block
from lab.machines.report import Report
from lab.machines.verdict import UNKNOWN, judge
from lab.sink import Mail

WINDOW = Window("failover", 100.0, 110.0)


def mail(call: str, at: float) -> Mail:
    return Mail(at, f"<{call}@clarion>", call)


def test_judge_counts_missing_unsent_and_doubles() -> None:
    accepted = {"a": "1", "b": "2", "c": "3", "d": "4"}
    mails = [mail("a", 90), mail("b", 105), mail("b", 115), mail("d", 50), mail("d", 60), mail("e", 70)]
    verdict = judge(accepted, {"1", "2", "3"}, mails, [WINDOW], grace=10)
    assert verdict.missing == ("d",)
    assert verdict.undelivered == ("c",)
    assert verdict.once == 1
    assert verdict.doubles == {"failover": 1, UNKNOWN: 1}
    assert verdict.unacknowledged == 1
    assert len(verdict.failures) == 3


@pytest.mark.parametrize(("first", "second"), [(80.0, 99.0), (111.0, 112.0), (105.0, 121.0)])
def test_double_needs_something_broken_between(first: float, second: float) -> None:
    verdict = judge({"a": "1"}, {"1"}, [mail("a", first), mail("a", second)], [WINDOW], grace=10)
    assert verdict.doubles == {UNKNOWN: 1}


def test_a_run_without_accepted_triggers_fails() -> None:
    assert judge({}, set(), [], [], grace=10).failures == ("nothing was accepted",)


def failover(**changes: object) -> Failover:
    fields: dict[str, object] = {
        "how": KILLED, "old": "db1", "new": "db2", "window": WINDOW, "commands": 1.0, "recovered": 3.0,
        "after_commands": 2.0, "refusals": 6, "rows": 0,
    }  # fmt: skip
    return Failover(**{**fields, **changes})  # type: ignore[arg-type]


def impact(incident: Incident, gap: float, back: float | None) -> Impact:
    return Impact(incident, WINDOW, 10.0, 100, "-", gap, back)


def test_what_a_failover_reports_as_failed() -> None:
    assert not failover().failures
    assert not failover(how="cut off", rows=3).failures
    for bad in ({"rows": 1}, {"refusals": 0}, {"recovered": None}, {"after_commands": RECOVERY_LIMIT + 1}):
        assert len(failover(**bad).failures) == 1


def test_what_an_incident_reports_as_failed() -> None:
    some = Incident("parted", "a", ("b",), longest_gap=5.0)
    everything = Incident("parted", "a", ("b",), stops_all=True, longest_gap=5.0)
    assert not impact(some, 5.0, 0.1).failures
    assert not impact(everything, 10.0, 5.0).failures
    assert impact(some, 5.1, 0.1).failures
    assert impact(everything, 10.0, 5.1).failures
    assert impact(some, 1.0, None).failures


def test_report_has_all_figures_and_failures() -> None:
    verdict = judge({"a": "1"}, {"1"}, [mail("a", 1)], [], grace=10)
    some = Incident("parted", "a", ("b",))
    times = (2.0, 4.0, 9.0)
    report = Report([impact(some, 1.0, 0.1)], [failover(recovered=one) for one in times], verdict, 0.5)
    text = str(report)
    assert "median 4.0 s, worst 9.0 s, of 3 failovers" in text
    assert "| parted | 10 | 100 | - | 1.0 | 0.1 |" in text
    assert text.endswith("all guarantees held")
    bad = Report([], [failover(rows=2)], verdict, 0.5)
    assert str(bad).endswith("FAILED: failover from db1 to db2: 2 triggers were written to the old primary")


@pytest.mark.parametrize("section", [FAIL_OVER, BRING_BACK])
def test_commands_of_the_page_are_valid_shell(section: str) -> None:
    subprocess.run(["sh", "-n", "-c", block(section)], check=True)


def test_unknown_section_has_no_commands() -> None:
    with pytest.raises(LabError, match='no commands in the section "nothing"'):
        block("nothing")
