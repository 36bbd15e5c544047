"""The counts of a phase, for people."""

from __future__ import annotations

from .phases import Phase
from .verdict import Verdict

__all__ = ["as_text"]

_SHOWN = 5


def as_text(title: str, phase: Phase) -> str:
    """Return the counts of a phase, one a line."""
    verdict = phase.verdict
    if verdict is None:
        return f"{title}: not judged"
    done = ", ".join(f"{name} {count}" for name, count in sorted(phase.done.items()))
    refused = ", ".join(f"{what}: {count}" for what, count in sorted(phase.load.refused.items()))
    counts: dict[str, object] = {
        "accepted (204)": verdict.accepted,
        "other answers": f"{phase.load.refused.total()} {f'({refused})' if refused else ''}",
        "mails": verdict.mails,
        "  of calls without a 204": verdict.unpromised,
        "lost": len(verdict.lost),
        "in flight at a kill": verdict.in_flight,
        "came more than once": len(verdict.doubles),
        "  not in flight at a kill": len(verdict.unexplained),
        "  with another Message-ID": len(verdict.unrecognisable),
    }
    lines = [f"  {name:<28}{count}".rstrip() for name, count in counts.items()]
    return "\n".join([f"{title} ({done}):", *lines, *_broken(verdict)])


def _broken(verdict: Verdict) -> list[str]:
    """Name the first of what breaks each promise."""
    faults = {
        "accepted and not delivered": verdict.lost,
        "doubles without a kill": verdict.unexplained,
        "doubles that cannot be recognised": verdict.unrecognisable,
        "mails that name another trigger": verdict.foreign,
        "attempts lost without a kill": [verdict.not_by_a_kill] if verdict.not_by_a_kill else [],
    }
    return [
        f"  BROKEN, {what}: {', '.join(map(str, some[:_SHOWN]))}" for what, some in faults.items() if some
    ]
