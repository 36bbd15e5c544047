"""Why a trigger waits, from what the database knows and what dispatchers report."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

from server.domain.campaign import SendWindow
from server.domain.delivery import AttemptOutcome
from server.domain.sending_hold import SendingHold
from server.domain.waiting import (
    MOST_AHEAD,
    DispatcherReport,
    Hold,
    ProviderStatus,
    Queued,
    Reason,
    why_due,
    why_waiting,
)
from tests.kit.cases import each_case
from tests.kit.outcomes import RETRY

NOW = dt.datetime(2026, 3, 2, 12, tzinfo=dt.UTC)
DUE = Queued(now=NOW, due_at=NOW, lane="email/smtp,backup")
FREE = ProviderStatus()


def after(seconds: float) -> dt.datetime:
    return NOW + dt.timedelta(seconds=seconds)


def report(age: float = 0.0, **providers: ProviderStatus) -> DispatcherReport:
    return DispatcherReport(after(-age), providers)


def is_open(wait: float, error: str = "SMTP 535 No") -> ProviderStatus:
    return ProviderStatus(Hold.BREAKER, wait, error=error)


def limited(hold: Hold | None = Hold.RATE) -> ProviderStatus:
    return ProviderStatus(hold, 0.5, rate=2.0)


@each_case(
    ("reports", "reason", "detail"),
    [
        ([], Reason.NO_DISPATCHER, "no dispatcher is running"),
        (
            [report(sandbox=FREE), report(fcm=FREE)],
            Reason.NO_PROVIDER,
            "no running dispatcher has any of the providers smtp, backup; configured are: fcm, sandbox",
        ),
        ([report()], Reason.NO_PROVIDER, "configured are: none"),
        ([DispatcherReport(NOW, None)], Reason.DUE, "a dispatcher of an older version is running"),
        ([DispatcherReport(NOW, None), report(smtp=FREE)], Reason.DUE, "smtp can send it now; 3 are due"),
        ([report(smtp=is_open(9))], Reason.BREAKER_OPEN, "the circuit breaker of smtp is open: SMTP 535 No"),
        ([report(smtp=is_open(9), backup=FREE)], Reason.DUE, "backup can send it now"),
        ([report(smtp=is_open(9)), report(smtp=FREE)], Reason.DUE, "smtp can send it now"),
        (
            [report(smtp=limited())],
            Reason.RATE_LIMIT,
            "smtp may send 2 messages a second (`rate`); 3 are due",
        ),
        ([report(smtp=limited(None))], Reason.RATE_LIMIT, "smtp may send 2 messages a second"),
        ([report(smtp=limited()), report(smtp=FREE)], Reason.DUE, "smtp can send it now"),
        (
            [report(smtp=ProviderStatus(Hold.SLOTS), backup=FREE)],
            Reason.CONCURRENCY,
            "smtp is sending as many messages at once as its settings allow; 3 are due before it",
        ),
    ],
)
def test_why_a_due_trigger_waits(reports: list[DispatcherReport], reason: Reason, detail: str) -> None:
    found = why_waiting(replace(DUE, ahead=3), reports)
    assert found.reason is reason
    assert found.detail.startswith(detail) or found.detail.endswith(detail)


def test_a_hold_comes_before_all_other_reasons() -> None:
    held = SendingHold(NOW, "Ada", "restored")
    found = why_waiting(replace(DUE, held=held), [])
    assert found.reason is Reason.HELD
    assert "by Ada: restored; `clarion release` ends that" in found.detail


def test_a_breaker_is_open_until_a_dispatcher_tries() -> None:
    reports = [report(1, smtp=is_open(30)), report(2, smtp=is_open(9), backup=is_open(20))]
    assert why_waiting(DUE, reports).until == after(7)
    assert why_waiting(DUE, [report(1, smtp=is_open(0))]).until is None


def test_a_rate_gives_the_time_from_the_triggers_before() -> None:
    assert why_waiting(replace(DUE, ahead=9), [report(smtp=limited())]).until == after(5)
    many = why_waiting(replace(DUE, ahead=MOST_AHEAD), [report(smtp=limited())])
    assert many.until is None
    assert many.detail.endswith("at least 10,000 are due before it")


def test_a_lane_waits_without_a_position() -> None:
    found = why_due("email/smtp", NOW, [report(smtp=limited())])
    assert (found.detail, found.until) == ("smtp may send 2 messages a second (`rate`)", None)
    only = why_due("email/smtp", NOW, [report(sandbox=FREE)])
    assert only.detail == "no running dispatcher has the provider smtp; configured are: sandbox"


@each_case(
    ("reports", "changes"),
    [
        ([report(_test=FREE)], {}),
        ([report(_test=limited(Hold.SLOTS))], {}),
        ([report(smtp=FREE)], {}),
        ([report(_test=FREE)], {"due_at": after(60), "sent_by": "_test"}),
        ([report(_test=is_open(9))], {}),
    ],
)
def test_the_provider_of_tests_is_described(
    reports: list[DispatcherReport], changes: dict[str, object]
) -> None:
    """An operator cannot configure or choose it, so its internal name is never shown."""
    detail = why_waiting(replace(DUE, lane="email/_test", **changes), reports).detail  # type: ignore[arg-type]
    assert "the simulated provider of tests" in detail
    assert "_test" not in detail


WINDOW = SendWindow("09:00", "10:00")


@each_case(
    ("changes", "reason"),
    [
        ({"due_at": after(60), "sent_by": "smtp"}, Reason.SENDING),
        ({"due_at": after(60), "send_at": after(60)}, Reason.SCHEDULED),
        ({"due_at": after(90), "send_at": after(60), "last_outcome": None}, Reason.SCHEDULED),
        ({"due_at": after(60), "last_outcome": AttemptOutcome.RETRY}, Reason.RETRY),
        ({"due_at": after(60), "last_outcome": AttemptOutcome.LOST}, Reason.RETRY),
        ({"due_at": after(60), "last_outcome": AttemptOutcome.IN_DOUBT}, Reason.IN_DOUBT),
        ({"due_at": after(21 * 3600), "window": WINDOW}, Reason.SEND_WINDOW),
        ({"due_at": after(21 * 3600 + 1), "window": WINDOW, "send_at": after(-60)}, Reason.SEND_WINDOW),
        ({"due_at": after(21 * 3600 + 2), "window": WINDOW, "last_outcome": RETRY}, Reason.SEND_WINDOW),
        ({"due_at": after(16 * 3600), "window": WINDOW, "timezone": "Asia/Omsk"}, Reason.NOT_DUE),
        ({"due_at": after(15 * 3600), "window": WINDOW, "timezone": "Asia/Omsk"}, Reason.SEND_WINDOW),
        ({"due_at": after(15 * 3600), "window": WINDOW, "project_timezone": "Asia/Omsk"}, Reason.SEND_WINDOW),
        ({"due_at": after(22 * 3600), "window": WINDOW, "last_outcome": AttemptOutcome.RETRY}, Reason.RETRY),
        ({"due_at": after(60)}, Reason.NOT_DUE),
    ],
)  # fmt: skip
def test_why_a_trigger_is_not_due(changes: dict[str, object], reason: Reason) -> None:
    found = why_waiting(replace(DUE, **changes), [])  # type: ignore[arg-type]
    assert (found.reason, found.until) == (reason, changes["due_at"])
    assert found.detail
