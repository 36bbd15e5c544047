"""Compares the contents of two versions of a campaign, line by line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher

from clarion.admin.v1 import campaign_pb2 as pb

from ..domain.campaign import Campaign
from .campaign_content import changed_fields, field_texts

__all__ = ["compared"]

_CONTEXT = 3
"""Unchanged lines that are shown around a change."""
_ALIGNED = 500
"""Lines of a text that are aligned with those of the other. In the worst case, time grows with their cube. A
text with more lines is shown as removed and added."""
_ALL_ALIGNED = 4000
"""Lines of all texts that are aligned."""
_MAX_SIZE = 1_000_000
"""Characters in a response; gRPC's default limit is 4 MiB."""


def compared(older: Campaign, newer: Campaign) -> pb.CompareCampaignVersionsResponse:
    """Return the fields of the content and the state that differ, each with its lines.

    It may take a second of CPU time, so call it in a thread.
    """
    old, new = field_texts(older), field_texts(newer)
    response = pb.CompareCampaignVersionsResponse()
    size, to_align = 0, _ALL_ALIGNED
    for name in changed_fields(older, newer):
        before, after = (texts.get(name, "").split("\n") for texts in (old, new))
        is_short = max(len(before), len(after)) <= min(_ALIGNED, to_align)
        lines = _aligned(before, after) if is_short else _replaced(before, after)
        to_align -= max(len(before), len(after)) if is_short else 0
        size += sum(len(line.text) + 1 for line in lines)
        if size > _MAX_SIZE:
            response.truncated = True
            break
        response.changes.add(field_name=name, diff_lines=lines)
    return response


def _aligned(before: Sequence[str], after: Sequence[str]) -> list[pb.DiffLine]:
    lines: list[pb.DiffLine] = []
    end = 0
    for group in SequenceMatcher(None, before, after, autojunk=False).get_grouped_opcodes(_CONTEXT):
        if group[0][1] > end:
            lines.append(pb.DiffLine(line_kind="skipped"))
        for tag, old_start, old_end, new_start, new_end in group:
            if tag == "equal":
                lines += _lines("same", before[old_start:old_end])
            else:
                lines += _lines("removed", before[old_start:old_end])
                lines += _lines("added", after[new_start:new_end])
            end = old_end
    if end < len(before):
        lines.append(pb.DiffLine(line_kind="skipped"))
    return lines


def _replaced(before: Sequence[str], after: Sequence[str]) -> list[pb.DiffLine]:
    """Return long texts without the lines that both begin and end with."""
    start = _common(before, after)
    rest = min(len(before), len(after)) - start
    end = min(_common(before[::-1], after[::-1]), rest)
    lines = [
        *_lines("removed", before[start : len(before) - end]),
        *_lines("added", after[start : len(after) - end]),
    ]
    skipped = pb.DiffLine(line_kind="skipped")
    return [*([skipped] if start else []), *lines, *([skipped] if end else [])]


def _common(before: Sequence[str], after: Sequence[str]) -> int:
    """Return the number of lines that both begin with."""
    pairs = enumerate(zip(before, after, strict=False))
    return next((place for place, (one, other) in pairs if one != other), min(len(before), len(after)))


def _lines(kind: str, texts: Sequence[str]) -> Iterator[pb.DiffLine]:
    return (pb.DiffLine(line_kind=kind, text=text) for text in texts)
