"""What was promised against what came: pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..product.faults_sink import Mail

__all__ = ["Double", "Kill", "Lost", "Verdict", "judge"]


@dataclass(frozen=True, slots=True)
class Kill:
    """From the signal until the killed process is started again: meanwhile nobody claims anew."""

    begun: float
    ended: float

    def met(self, lost: Lost) -> bool:
        """Tell whether it cut the attempt off. The database may take the time of a claim a moment late."""
        return lost.begun <= self.ended and self.begun <= lost.ended


@dataclass(frozen=True, slots=True)
class Lost:
    """An attempt whose outcome nobody recorded: from its claim until somebody else claimed it."""

    trigger_id: str
    begun: float
    ended: float


@dataclass(frozen=True, slots=True)
class Double:
    """A trigger that came more than once."""

    call: str
    mails: tuple[Mail, ...]
    explained: bool
    """It was in flight at as many kills as there are mails too many."""

    @property
    def recognisable(self) -> bool:
        """All its mails have one Message-ID."""
        return len({mail.message_id for mail in self.mails}) == 1

    def __str__(self) -> str:
        """Say what came when."""
        came = ", ".join(f"{mail.message_id} at {mail.at:.3f}" for mail in self.mails)
        return f"{self.call}: {came}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The counts of a phase."""

    accepted: int
    mails: int
    lost: tuple[str, ...]
    """Calls that got 204 and whose mail did not come."""
    unpromised: int
    """Triggers that came although their call was not answered 204: the answer was lost, not the trigger."""
    in_flight: int
    """Attempts that a kill cut off."""
    not_by_a_kill: int
    """Attempts whose outcome was lost without a kill."""
    doubles: tuple[Double, ...]
    foreign: tuple[str, ...]
    """Calls whose mail does not name their trigger in its Message-ID."""

    @property
    def unexplained(self) -> tuple[Double, ...]:
        """Doubles that were not in flight at a kill."""
        return tuple(double for double in self.doubles if not double.explained)

    @property
    def unrecognisable(self) -> tuple[Double, ...]:
        """Doubles whose mails have different Message-IDs."""
        return tuple(double for double in self.doubles if not double.recognisable)

    @property
    def kept(self) -> bool:
        """Whether every promise was kept."""
        return not (
            self.lost or self.unexplained or self.unrecognisable or self.foreign or self.not_by_a_kill
        )


def judge(
    accepted: Mapping[str, str], mails: Sequence[Mail], lost: Sequence[Lost], kills: Sequence[Kill]
) -> Verdict:
    """Hold what was accepted (a trigger's id by its call) against what came, and doubles against kills."""
    by_call: dict[str, list[Mail]] = defaultdict(list)
    for mail in mails:
        by_call[mail.subject].append(mail)
    cut_off = Counter(one.trigger_id for one in lost if any(kill.met(one) for kill in kills))
    return Verdict(
        accepted=len(accepted),
        mails=len(mails),
        lost=tuple(accepted.keys() - by_call.keys()),
        unpromised=len(by_call.keys() - accepted.keys()),
        in_flight=cut_off.total(),
        not_by_a_kill=len(lost) - cut_off.total(),
        doubles=tuple(_doubles(by_call, cut_off)),
        foreign=tuple(
            call for call, number in accepted.items() if _trigger_ids(by_call.get(call)) - {number}
        ),
    )


def _doubles(by_call: Mapping[str, Sequence[Mail]], cut_off: Mapping[str, int]) -> Iterator[Double]:
    for call, same in by_call.items():
        if len(same) > 1:
            kills = sum(cut_off.get(number, 0) for number in _trigger_ids(same))
            yield Double(call, tuple(same), explained=len(same) - 1 <= kills)


def _trigger_ids(mails: Sequence[Mail] | None) -> set[str]:
    """Return the ids of triggers, which are the first part of the Message-IDs."""
    return {mail.message_id.strip("<>").partition("@")[0] for mail in mails or ()}
