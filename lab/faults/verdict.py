"""Compares accepted calls with received mails. All functions are pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..sink import Mail

__all__ = ["Duplicate", "Kill", "Lost", "Verdict", "judge"]


@dataclass(frozen=True, slots=True)
class Kill:
    """The time from the signal until the killed process was restarted, or until the hung one continued."""

    begun: float
    ended: float

    def interrupted(self, lost: Lost) -> bool:
        """Return whether it interrupted the attempt. The database may date a claim slightly later."""
        return lost.begun <= self.ended and self.begun <= lost.ended


@dataclass(frozen=True, slots=True)
class Lost:
    """An attempt whose outcome is not known, from its claim to its end or the next claim of its trigger."""

    trigger_id: str
    begun: float
    ended: float


@dataclass(frozen=True, slots=True)
class Duplicate:
    """A trigger that was delivered more than once."""

    call: str
    mails: tuple[Mail, ...]
    explained: bool
    """Whether it was in flight at one kill for each extra mail."""

    @property
    def is_recognisable(self) -> bool:
        """Whether all its mails have the same Message-ID."""
        return len({mail.message_id for mail in self.mails}) == 1

    def __str__(self) -> str:
        """Return the call, and the Message-ID and time of each mail."""
        mails = ", ".join(f"{mail.message_id} at {mail.at:.3f}" for mail in self.mails)
        return f"{self.call}: {mails}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The counts of a phase."""

    accepted: int
    mails: int
    missing: tuple[str, ...]
    """Calls that were answered with 204 and whose mail did not arrive."""
    unacknowledged: int
    """Triggers that were delivered although their call got no 204: the answer was lost, not the trigger."""
    in_flight: int
    """Attempts interrupted by a kill."""
    lost_without_kill: int
    """Attempts whose outcome was lost without a kill."""
    duplicates: tuple[Duplicate, ...]
    mismatched: tuple[str, ...]
    """Calls whose mail does not have their trigger ID in its Message-ID."""
    most_copies: int | None = None
    """How often a message may be delivered at most; None if only kills limit it."""

    @property
    def excessive(self) -> tuple[Duplicate, ...]:
        """Triggers that were delivered too often."""
        most = self.most_copies
        return tuple(one for one in self.duplicates if most is not None and len(one.mails) > most)

    @property
    def unexplained(self) -> tuple[Duplicate, ...]:
        """Duplicates that were not in flight at a kill."""
        return tuple(duplicate for duplicate in self.duplicates if not duplicate.explained)

    @property
    def unrecognisable(self) -> tuple[Duplicate, ...]:
        """Duplicates whose mails have different Message-IDs."""
        return tuple(duplicate for duplicate in self.duplicates if not duplicate.is_recognisable)

    @property
    def passed(self) -> bool:
        """Whether every guarantee held."""
        return not (
            self.missing
            or self.unexplained
            or self.unrecognisable
            or self.excessive
            or self.mismatched
            or self.lost_without_kill
        )


def judge(
    accepted: Mapping[str, str],
    mails: Sequence[Mail],
    lost: Sequence[Lost],
    kills: Sequence[Kill],
    most_copies: int | None = None,
) -> Verdict:
    """Compare accepted calls with received mails, and duplicates with kills.

    Args:
        accepted: trigger IDs by call.
        mails: what the sink received.
        lost: attempts without an outcome.
        kills: when processes were killed.
        most_copies: how often a message may be delivered at most.
    """
    by_call: dict[str, list[Mail]] = defaultdict(list)
    for mail in mails:
        by_call[mail.subject].append(mail)
    interrupted = Counter(one.trigger_id for one in lost if any(kill.interrupted(one) for kill in kills))
    return Verdict(
        accepted=len(accepted),
        mails=len(mails),
        missing=tuple(accepted.keys() - by_call.keys()),
        unacknowledged=len(by_call.keys() - accepted.keys()),
        in_flight=interrupted.total(),
        lost_without_kill=len(lost) - interrupted.total(),
        duplicates=tuple(_duplicates(by_call, interrupted)),
        mismatched=tuple(
            call for call, trigger_id in accepted.items() if _trigger_ids(by_call.get(call)) - {trigger_id}
        ),
        most_copies=most_copies,
    )


def _duplicates(by_call: Mapping[str, Sequence[Mail]], interrupted: Mapping[str, int]) -> Iterator[Duplicate]:
    for call, same in by_call.items():
        if len(same) > 1:
            kills = sum(interrupted.get(trigger_id, 0) for trigger_id in _trigger_ids(same))
            yield Duplicate(call, tuple(same), explained=len(same) - 1 <= kills)


def _trigger_ids(mails: Sequence[Mail] | None) -> set[str]:
    """Return the trigger IDs, which are the first part of the Message-IDs."""
    return {mail.message_id.strip("<>").partition("@")[0] for mail in mails or ()}
