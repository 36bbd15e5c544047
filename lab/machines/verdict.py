"""Compares accepted triggers with the final primary and with the received mails."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..sink import Mail
from .incidents import Window

__all__ = ["UNKNOWN", "Verdict", "judge"]

UNKNOWN = "no known cause"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The counts of a run."""

    accepted: int
    missing: tuple[str, ...]
    """Calls that got 204 and whose trigger is not in the final primary."""
    undelivered: tuple[str, ...]
    """Calls that got 204 and whose mail did not arrive."""
    once: int
    """Calls that got 204 and whose mail arrived exactly once."""
    doubles: Mapping[str, int]
    """Accepted or not, triggers whose mail arrived more than once, by what was broken then."""
    unacknowledged: int
    """Triggers that were delivered although their call got no 204."""

    @property
    def failures(self) -> tuple[str, ...]:
        """The guarantees that failed."""
        return tuple(self._failures())

    def _failures(self) -> Iterator[str]:
        if not self.accepted:
            yield "nothing was accepted"
        if self.missing:
            yield f"{len(self.missing)} triggers that got 204 are missing, such as {self.missing[0]}"
        if self.undelivered:
            yield f"{len(self.undelivered)} triggers with 204 were not sent, such as {self.undelivered[0]}"
        if self.doubles.get(UNKNOWN):
            yield f"{self.doubles[UNKNOWN]} triggers were sent twice while nothing was broken"


def judge(
    accepted: Mapping[str, str],
    kept: Collection[str],
    mails: Sequence[Mail],
    windows: Sequence[Window],
    grace: float,
) -> Verdict:
    """Compare what was accepted with what was kept and sent.

    Args:
        accepted: Trigger IDs by call.
        kept: The IDs of the triggers in the final primary.
        mails: What the mail server received.
        windows: When something was broken.
        grace: Seconds after a window in which its messages may be sent again: the lease and the next claim.
    """
    times: dict[str, list[float]] = defaultdict(list)
    for mail in mails:
        times[mail.subject].append(mail.at)
    doubles = Counter(_cause(sorted(same), windows, grace) for same in times.values() if len(same) > 1)
    return Verdict(
        len(accepted),
        missing=tuple(call for call, trigger_id in accepted.items() if trigger_id not in kept),
        undelivered=tuple(sorted(accepted.keys() - times.keys())),
        once=sum(len(times.get(call, ())) == 1 for call in accepted),
        doubles=doubles,
        unacknowledged=len(times.keys() - accepted.keys()),
    )


def _cause(times: Sequence[float], windows: Sequence[Window], grace: float) -> str:
    """Return what was broken between the first mail and the next: its outcome was not recorded meanwhile."""
    first, second = times[:2]
    for window in windows:
        if first <= window.ended and window.begun <= second <= window.ended + grace:
            return window.cause
    return UNKNOWN
