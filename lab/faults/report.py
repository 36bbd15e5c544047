"""The counts of a phase as text."""

from __future__ import annotations

from .phases import Phase
from .verdict import Verdict

__all__ = ["as_text"]

_SHOWN = 5


def as_text(title: str, phase: Phase) -> str:
    """Return the counts of a phase, one in each line."""
    verdict = phase.verdict
    if verdict is None:
        return f"{title}: no verdict"
    rounds = ", ".join(f"{name} {count}" for name, count in sorted(phase.rounds.items()))
    refused = ", ".join(f"{answer}: {count}" for answer, count in sorted(phase.load.refused.items()))
    counts: dict[str, object] = {
        "accepted (204)": verdict.accepted,
        "other answers": f"{phase.load.refused.total()} {f'({refused})' if refused else ''}",
        "mails": verdict.mails,
        "  of calls without a 204": verdict.unacknowledged,
        "missing": len(verdict.missing),
        "in flight at a kill": verdict.in_flight,
        "delivered more than once": len(verdict.duplicates),
        "  not in flight at a kill": len(verdict.unexplained),
        "  with another Message-ID": len(verdict.unrecognisable),
    }
    lines = [f"  {name:<28}{count}".rstrip() for name, count in counts.items()]
    return "\n".join([f"{title} ({rounds}):", *lines, *_failures(verdict)])


def _failures(verdict: Verdict) -> list[str]:
    """Return a line for each guarantee that failed, with the first examples."""
    failures = {
        "accepted and not delivered": verdict.missing,
        "duplicates without a kill": verdict.unexplained,
        f"delivered more than {verdict.most_copies} times": verdict.excessive,
        "duplicates with different Message-IDs": verdict.unrecognisable,
        "mails with another trigger ID": verdict.mismatched,
        "attempts lost without a kill": [verdict.lost_without_kill] if verdict.lost_without_kill else [],
    }
    return [
        f"  FAILED, {name}: {', '.join(map(str, examples[:_SHOWN]))}"
        for name, examples in failures.items()
        if examples
    ]
