"""Explains why a trigger waits, and until when, from the queue and the dispatchers' reports."""

from __future__ import annotations

import datetime as dt
import enum
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from .campaign import TEST_PROVIDER, SendWindow, providers_of
from .delivery import AttemptOutcome
from .sending_hold import SendingHold
from .window import next_opening, zone_of

__all__ = [
    "MOST_AHEAD",
    "DispatcherReport",
    "Hold",
    "ProviderStatus",
    "Queued",
    "Reason",
    "Waiting",
    "suppression_paused",
    "why_due",
    "why_waiting",
]

MOST_AHEAD = 10_000
"""Maximum number of triggers that are counted ahead of another one."""
_SAME = dt.timedelta(seconds=5)
"""Maximum difference between a window's opening and the due time of a trigger that waits for it.

The due time is a little later, because the wait is computed before the commit."""


class Hold(enum.StrEnum):
    """Why a dispatcher currently sends nothing more through a provider."""

    BREAKER = "breaker"
    RATE = "rate"
    SLOTS = "slots"


class ProviderStatus(msgspec.Struct, frozen=True, omit_defaults=True):
    """The status of a provider in one dispatcher."""

    hold: Hold | None = None
    wait: float = 0.0
    """Seconds until the hold may end; 0 if unknown."""
    rate: float = 0.0
    """Messages per second of all dispatchers together; 0 means no limit."""
    error: str = ""
    """The provider's last failure, if its breaker is open."""
    suppression_paused: bool = False
    """Whether no recipient is suppressed now, because the provider refuses too many."""
    seconds: float = 0.0
    """The median duration of a send; 0 if nothing was sent lately."""
    channels: tuple[str, ...] = ()
    """The channels that it delivers; empty if the dispatcher's version does not report them."""


@dataclass(frozen=True, slots=True)
class DispatcherReport:
    """The status of each provider that a dispatcher has configured, or None if its version reports none."""

    at: dt.datetime
    providers: Mapping[str, ProviderStatus] | None
    id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Queued:
    """A queued trigger as the database describes it; `now` is the database's time."""

    now: dt.datetime
    due_at: dt.datetime
    lane: str
    """The lane of its campaign. If the trigger is queued in another lane, it will be moved to this one."""
    sent_by: str = ""
    """The provider that it is being sent through, or empty."""
    ahead: int = 0
    """Triggers in its lane that are due before it, at most `MOST_AHEAD`."""
    send_at: dt.datetime | None = None
    last_outcome: AttemptOutcome | None = None
    window: SendWindow | None = None
    timezone: str = ""
    project_timezone: str = "UTC"
    held: SendingHold | None = None
    """Since when all sending is held."""


class Reason(enum.StrEnum):
    """Why a trigger waits."""

    SENDING = "sending"
    SCHEDULED = "scheduled"
    SEND_WINDOW = "send_window"
    RETRY = "retry"
    IN_DOUBT = "in_doubt"
    NOT_DUE = "not_due"
    HELD = "held"
    NO_DISPATCHER = "no_dispatcher"
    NO_PROVIDER = "no_provider"
    BREAKER_OPEN = "breaker_open"
    RATE_LIMIT = "rate_limit"
    CONCURRENCY = "concurrency"
    DUE = "due"


@dataclass(frozen=True, slots=True)
class Waiting:
    """Why a trigger waits, with an explanation for operators, and until when if that is known."""

    reason: Reason
    detail: str
    until: dt.datetime | None = None


def suppression_paused(reports: Sequence[DispatcherReport]) -> set[str]:
    """Return the providers that refuse too many recipients, so that a dispatcher has paused suppression."""
    statuses = (one for report in reports if report.providers for one in report.providers.items())
    return {name for name, status in statuses if status.suppression_paused}


def why_waiting(queued: Queued, reports: Sequence[DispatcherReport]) -> Waiting:
    """Return why a queued trigger waits.

    Args:
        queued: The trigger.
        reports: The last report of each running dispatcher.
    """
    if queued.due_at <= queued.now:
        return why_due(queued.lane, queued.now, reports, queued.ahead, held=queued.held)
    if queued.sent_by:
        detail = f"a dispatcher is sending it through {_shown(queued.sent_by)}; no other dispatcher sends it"
        return Waiting(Reason.SENDING, detail, queued.due_at)
    return Waiting(*_why_not_due(queued), queued.due_at)


def _why_not_due(queued: Queued) -> tuple[Reason, str]:
    if queued.send_at and queued.send_at > queued.now:
        later = ", when the campaign's send window is closed" if queued.due_at > queued.send_at else ""
        return Reason.SCHEDULED, f"its send_at is {queued.send_at.isoformat()}{later}"
    if _is_opening(queued):
        return Reason.SEND_WINDOW, "the campaign's send window opens then in the user's time zone"
    if queued.last_outcome is AttemptOutcome.IN_DOUBT:
        return Reason.IN_DOUBT, "the last attempt is in doubt: the message may have arrived"
    if queued.last_outcome is not None:
        return Reason.RETRY, "the last attempt failed, and the next one is due then"
    return (
        Reason.NOT_DUE,
        "its due time was set when it was accepted; later changes to the campaign do not affect it",
    )


def _is_opening(queued: Queued) -> bool:
    """Return whether the trigger is due when its campaign's send window opens next."""
    if queued.window is None:
        return False
    zone = zone_of(queued.timezone, queued.project_timezone)
    opening = next_opening(queued.window, queued.now, zone)
    return opening > queued.now and abs(queued.due_at - opening) <= _SAME


def why_due(
    lane: str,
    now: dt.datetime,
    reports: Sequence[DispatcherReport],
    ahead: int | None = None,
    *,
    held: SendingHold | None = None,
) -> Waiting:
    """Return why a due trigger waits, or why all due triggers of a lane wait.

    Args:
        lane: The lane.
        now: The database's time.
        reports: The last report of each running dispatcher.
        ahead: How many triggers of the lane are due before this one; None for all of the lane.
        held: Since when all sending is held.
    """
    if held:
        return Waiting(Reason.HELD, f"{held}; `clarion release` ends that")
    if not reports:
        return Waiting(Reason.NO_DISPATCHER, "no dispatcher is running")
    names = providers_of(lane)
    known = [(report.at, report.providers) for report in reports if report.providers is not None]
    configured = [
        (at, {name: providers[name] for name in names if name in providers})
        for at, providers in known
        if not providers.keys().isdisjoint(names)
    ]
    if not configured:
        return _without_provider(names, reports)
    # Report the dispatcher that can send soonest.
    found = [first for _, providers in configured if (first := _first_working(providers))]
    if not found:
        return _breakers_open(configured, now)
    name, status = min(found, key=lambda one: _ORDER[one[1].hold])
    return _behind(name, status, ahead, now)


_ORDER = {None: 0, Hold.SLOTS: 1, Hold.RATE: 2}


def _without_provider(names: Sequence[str], reports: Sequence[DispatcherReport]) -> Waiting:
    if any(report.providers is None for report in reports):
        return Waiting(
            Reason.DUE, "a dispatcher of an older version is running and does not report its providers"
        )
    reported = {name for report in reports for name in report.providers or {}}
    others = sorted(name for name in reported if name != TEST_PROVIDER)
    wanted = f"any of the providers {', '.join(names)}"
    if len(names) == 1:
        wanted = _shown(names[0]) if names[0] == TEST_PROVIDER else f"the provider {names[0]}"
    detail = f"no running dispatcher has {wanted}; configured are: {', '.join(others) or 'none'}"
    return Waiting(Reason.NO_PROVIDER, detail)


def _first_working(providers: Mapping[str, ProviderStatus]) -> tuple[str, ProviderStatus] | None:
    return next((one for one in providers.items() if one[1].hold is not Hold.BREAKER), None)


def _breakers_open(
    configured: Sequence[tuple[dt.datetime, Mapping[str, ProviderStatus]]], now: dt.datetime
) -> Waiting:
    errors = {_shown(name): status.error for _, providers in configured for name, status in providers.items()}
    detail = "; ".join(f"the circuit breaker of {name} is open: {error}" for name, error in errors.items())
    until = min(at + dt.timedelta(seconds=wait) for at, wait in _waits(configured))
    return Waiting(Reason.BREAKER_OPEN, detail, until if until > now else None)


def _waits(
    configured: Sequence[tuple[dt.datetime, Mapping[str, ProviderStatus]]],
) -> Iterator[tuple[dt.datetime, float]]:
    return ((at, status.wait) for at, providers in configured for status in providers.values())


def _behind(name: str, status: ProviderStatus, ahead: int | None, now: dt.datetime) -> Waiting:
    """Return what a trigger waits for if its provider works."""
    name = _shown(name)
    before = "" if ahead is None else f"; {_count(ahead)} due before it"
    if status.hold is Hold.RATE or (status.rate and ahead):
        known = ahead is not None and ahead < MOST_AHEAD
        until = now + dt.timedelta(seconds=((ahead or 0) + 1) / status.rate) if known else None
        detail = f"{name} may send {status.rate:g} messages a second (`rate`){before}"
        return Waiting(Reason.RATE_LIMIT, detail, until)
    if status.hold is Hold.SLOTS:
        return Waiting(
            Reason.CONCURRENCY, f"{name} is sending as many messages at once as its settings allow{before}"
        )
    return Waiting(Reason.DUE, f"{name} can send it now{before}")


def _shown(provider: str) -> str:
    """Return what to call a provider: the internal name of that of tests means nothing to an operator."""
    return "the simulated provider of tests" if provider == TEST_PROVIDER else provider


def _count(ahead: int) -> str:
    if ahead >= MOST_AHEAD:
        return f"at least {MOST_AHEAD:,} are"
    return f"{ahead:,} {'is' if ahead == 1 else 'are'}"
